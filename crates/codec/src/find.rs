//! Single fields of a JSON text, without a plan: to route a record before its table is known.

use std::borrow::Cow;

use crate::options::Limits;
use crate::reader::Reader;

/// How deep a text may nest before the search gives up. No plan takes deeper ones.
const DEPTH_MAX: usize = Limits::DEPTH_MAX;

/// The text of the field at `path`, names from the value's root: a string unescaped, a number, `true`
/// or `false` as it stands. `None` if the value is not JSON up to there, or the field is not there,
/// `null`, an array or an object. Of a name that stands twice the first counts; a plan rejects the
/// record later.
#[must_use]
pub fn find_text<'a>(value: &'a [u8], path: &[String]) -> Option<Cow<'a, str>> {
    let mut reader = Reader::new(simdutf8::basic::from_utf8(value).ok()?);
    for name in path {
        descend(&mut reader, name)?;
    }
    let first = reader.peek();
    let start = reader.at();
    match first {
        b'"' => {
            let raw = reader.string().ok()?;
            let mut unescaped = String::new();
            let escaped = raw.raw().contains('\\');
            let text = raw.text(&mut unescaped);
            Some(if escaped { Cow::Owned(text.to_owned()) } else { Cow::Borrowed(raw.raw()) })
        }
        b'{' | b'[' | b'n' => None,
        _ => {
            skip(&mut reader, 0)?;
            Some(Cow::Borrowed(reader.since(start)))
        }
    }
}

/// The JSON text at a JSON Pointer.
pub(crate) fn find_raw<'a>(value: &'a [u8], pointer: &str) -> Option<&'a str> {
    let mut reader = Reader::new(simdutf8::basic::from_utf8(value).ok()?);
    for segment in pointer.split('/').skip(1) {
        descend(&mut reader, &segment.replace("~1", "/").replace("~0", "~"))?;
    }
    reader.peek();
    let start = reader.at();
    skip(&mut reader, 0)?;
    Some(reader.since(start))
}

/// The JSON text of a member of the object that is next. `None` if it is not there, or what stands
/// before it is no JSON.
pub(crate) fn find_member<'a>(reader: &mut Reader<'a>, name: &str) -> Option<&'a str> {
    descend(reader, name)?;
    reader.peek();
    let start = reader.at();
    skip(reader, 0)?;
    Some(reader.since(start))
}

/// Goes to the member of that name, or to the item of that index.
fn descend(reader: &mut Reader<'_>, name: &str) -> Option<()> {
    if reader.take(b'[') {
        for _ in 0..name.parse::<usize>().ok()? {
            skip(reader, 0)?;
            if !reader.another(b']').ok()? {
                return None;
            }
        }
        return (reader.peek() != b']').then_some(());
    }
    if !reader.take(b'{') || reader.take(b'}') {
        return None;
    }
    let mut scratch = String::new();
    loop {
        let raw = reader.string().ok()?;
        reader.colon().ok()?;
        if raw.text(&mut scratch) == name {
            return Some(());
        }
        skip(reader, 0)?;
        if !reader.another(b'}').ok()? {
            return None;
        }
    }
}

fn skip(reader: &mut Reader<'_>, depth: usize) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    match reader.peek() {
        b'"' => reader.string().ok().map(|_| ()),
        open @ (b'{' | b'[') => {
            let close = if open == b'{' { b'}' } else { b']' };
            reader.take(open);
            let mut more = !reader.take(close);
            while more {
                if open == b'{' {
                    reader.string().ok()?;
                    reader.colon().ok()?;
                }
                skip(reader, depth + 1)?;
                more = reader.another(close).ok()?;
            }
            Some(())
        }
        b't' => reader.literal("true").ok(),
        b'f' => reader.literal("false").ok(),
        b'n' => reader.literal("null").ok(),
        _ => reader.number().ok().map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_path_whatever_stands_before_it() {
        let value = br#" {"x":[1,{"a":"}"}],"a":{"b\u0062":"v\n","n":1.5e3,"o":{}}} "#;
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(find_text(value, &path(&["a", "bb"])).as_deref(), Some("v\n"));
        assert_eq!(find_text(value, &path(&["a", "n"])).as_deref(), Some("1.5e3"));
        assert_eq!(find_text(value, &path(&["a", "o"])), None);
        assert_eq!(find_text(value, &path(&["a", "z"])), None);
        assert_eq!(find_text(b"{\"a\":", &path(&["a"])), None);
        assert_eq!(find_raw(value, "/x/1/a"), Some("\"}\""));
        assert_eq!(find_raw(value, ""), Some(std::str::from_utf8(value).unwrap().trim()));
    }
}
