//! Options and defaults as descriptors have them.

use prost_types::UninterpretedOption;
use prost_types::uninterpreted_option::NamePart;

use crate::protobuf::print::element;
use crate::protobuf::tree::{FieldType, Setting, SettingValue};

/// The message of options, if there are any.
pub(super) fn given<T>(options: &[Setting], make: impl FnOnce(Vec<UninterpretedOption>) -> T) -> Option<T> {
    let all: Vec<UninterpretedOption> = options.iter().flat_map(uninterpreted).collect();
    (!all.is_empty()).then(|| make(all))
}

/// An option; a list says it once for each of its values.
fn uninterpreted(Setting { name, custom, value }: &Setting) -> Vec<UninterpretedOption> {
    let mut parts = Vec::new();
    if *custom {
        parts.push(NamePart { name_part: name.clone(), is_extension: true });
    } else {
        parts.extend(plain(name));
    }
    let mut value = value;
    while let SettingValue::Part(part) = value {
        parts.extend(plain(&part.name));
        value = &part.value;
    }
    match value {
        SettingValue::List(list) => list.iter().map(|one| valued(&parts, one)).collect(),
        value => vec![valued(&parts, value)],
    }
}

fn plain(name: &str) -> impl Iterator<Item = NamePart> {
    name.split('.').map(|part| NamePart { name_part: part.to_owned(), is_extension: false })
}

fn valued(name: &[NamePart], value: &SettingValue) -> UninterpretedOption {
    let mut option = UninterpretedOption { name: name.to_vec(), ..UninterpretedOption::default() };
    match value {
        SettingValue::Text(text) => option.string_value = Some(text.clone().into_bytes()),
        SettingValue::Word(word) => option.identifier_value = Some(word.clone()),
        SettingValue::Number(text) => match integer(text) {
            Some(Integer::Positive(number)) => option.positive_int_value = Some(number),
            Some(Integer::Negative(number)) => option.negative_int_value = Some(number),
            None => option.double_value = Some(text.parse().unwrap_or(f64::NAN)),
        },
        SettingValue::Map(_) | SettingValue::List(_) | SettingValue::Part(_) => {
            let text = element(value);
            let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            option.aggregate_value = Some(inside.unwrap_or(&text).to_owned());
        }
    }
    option
}

enum Integer {
    Positive(u64),
    Negative(i64),
}

fn integer(text: &str) -> Option<Integer> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    };
    if negative {
        return i64::try_from(-i128::from(number)).ok().map(Integer::Negative);
    }
    Some(Integer::Positive(number))
}

/// What an edition's file or field says of a feature.
pub(super) fn feature<'a>(options: &'a [Setting], name: &str) -> Option<&'a str> {
    options.iter().filter(|one| !one.custom).find_map(|one| {
        let (value, rest) = match (&one.value, one.name.strip_prefix("features")?) {
            (SettingValue::Part(part), rest) => (&part.value, format!("{rest}.{}", part.name)),
            (value, rest) => (value, rest.to_owned()),
        };
        match value {
            SettingValue::Word(word) if rest.strip_prefix('.') == Some(name) => Some(word.as_str()),
            SettingValue::Map(map) => match map.get(name) {
                Some(SettingValue::Word(word)) => Some(word.as_str()),
                _ => None,
            },
            _ => None,
        }
    })
}

/// `packed`, said aloud.
pub(super) fn packed(packed: bool) -> Setting {
    Setting::plain("packed", SettingValue::Word(packed.to_string()))
}

/// A default as descriptors spell it: numbers in decimal digits, bytes escaped.
pub(super) fn default_value(kind: &FieldType, text: &str) -> String {
    match kind {
        FieldType::Named(name) if name == "string" => text.to_owned(),
        FieldType::Named(name) if name == "bytes" => {
            text.bytes().flat_map(std::ascii::escape_default).map(char::from).collect()
        }
        FieldType::Named(_) | FieldType::Map { .. } => match integer(text) {
            Some(Integer::Positive(number)) => number.to_string(),
            Some(Integer::Negative(number)) => number.to_string(),
            None => text.to_owned(),
        },
    }
}
