//! Reads a type's text, as the server prints it, into a [`Type`].

use crate::types::{DEPTH_MAX, JsonType, TupleElement, Type, TypeError};

pub(crate) fn parse(text: &str) -> Result<Type, TypeError> {
    let mut parser = Parser { text, position: 0, depth: 0 };
    let ty = parser.ty()?;
    parser.spaces();
    if parser.position < text.len() {
        return Err(parser.expected("the end"));
    }
    Ok(ty)
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn ty(&mut self) -> Result<Type, TypeError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.expected("less nesting"));
        }
        let start = self.position;
        let name = self.word().ok_or_else(|| self.expected("a type name"))?;
        let ty = if self.peek() == Some(b'(') { self.with_arguments(name, start)? } else { without(name) };
        self.depth -= 1;
        Ok(ty)
    }

    fn with_arguments(&mut self, name: &str, start: usize) -> Result<Type, TypeError> {
        self.take(b'(', "`(`")?;
        let ty = match name {
            "Nullable" => Type::Nullable(Box::new(self.ty()?)),
            "LowCardinality" => Type::LowCardinality(Box::new(self.ty()?)),
            "Array" => Type::Array(Box::new(self.ty()?)),
            "Map" => {
                let key = self.ty()?;
                self.take(b',', "`,`")?;
                Type::Map(Box::new(key), Box::new(self.ty()?))
            }
            "Tuple" => Type::Tuple(self.list(Self::tuple_element)?),
            "Nested" => Type::Nested(self.list(Self::named)?),
            "Variant" => Type::variant(self.list(Self::ty)?),
            "FixedString" => {
                Type::FixedString(self.number(1, 0xFF_FFFF, "a width from 1 to 16777215")? as usize)
            }
            "Decimal" => self.decimal()?,
            "Decimal32" => self.decimal_of(9)?,
            "Decimal64" => self.decimal_of(18)?,
            "Decimal128" => self.decimal_of(38)?,
            "Decimal256" => self.decimal_of(76)?,
            "DateTime" => Type::DateTime { timezone: Some(self.quoted(b'\'', "a quoted time zone")?) },
            "DateTime64" => self.date_time64()?,
            "Time64" => Type::Time64 { precision: self.small(9, "a precision from 0 to 9")? },
            "Enum8" => Type::Enum8(self.enum_values()?),
            "Enum16" => Type::Enum16(self.enum_values()?),
            "JSON" => Type::Json(Box::new(self.json()?)),
            "Dynamic" => self.dynamic()?,
            "SimpleAggregateFunction" => self.simple_aggregate()?,
            _ => return self.other(start),
        };
        self.take(b')', "`)`")?;
        Ok(ty)
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Result<T, TypeError>) -> Result<Vec<T>, TypeError> {
        let mut items = Vec::new();
        if self.peek() == Some(b')') {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.peek() != Some(b',') {
                return Ok(items);
            }
            self.position += 1;
        }
    }

    /// `T` or `name T`. A word that another word follows is a name.
    fn tuple_element(&mut self) -> Result<TupleElement, TypeError> {
        let start = self.position;
        let quoted = self.peek() == Some(b'`');
        let name = self.identifier()?;
        if quoted || self.peek().is_some_and(|b| b == b'`' || word_byte(b)) {
            return Ok(TupleElement { name: Some(name), ty: self.ty()? });
        }
        self.position = start;
        Ok(TupleElement { name: None, ty: self.ty()? })
    }

    fn named(&mut self) -> Result<(String, Type), TypeError> {
        Ok((self.identifier()?, self.ty()?))
    }

    fn decimal(&mut self) -> Result<Type, TypeError> {
        let precision = self.number(1, 76, "a precision from 1 to 76")? as u8;
        if self.peek() == Some(b')') {
            return Ok(Type::Decimal { precision, scale: 0 });
        }
        self.take(b',', "`,`")?;
        self.decimal_of(precision)
    }

    fn decimal_of(&mut self, precision: u8) -> Result<Type, TypeError> {
        Ok(Type::Decimal { precision, scale: self.small(precision, "a scale from 0 to the precision")? })
    }

    fn date_time64(&mut self) -> Result<Type, TypeError> {
        let precision = self.small(9, "a precision from 0 to 9")?;
        let timezone = match self.peek() {
            Some(b',') => {
                self.position += 1;
                Some(self.quoted(b'\'', "a quoted time zone")?)
            }
            _ => None,
        };
        Ok(Type::DateTime64 { precision, timezone })
    }

    fn dynamic(&mut self) -> Result<Type, TypeError> {
        match self.word() {
            Some("max_types") => {}
            _ => return Err(self.expected("`max_types`")),
        }
        self.take(b'=', "`=`")?;
        Ok(Type::Dynamic { max_types: Some(self.small(254, "a number from 0 to 254")?) })
    }

    fn simple_aggregate(&mut self) -> Result<Type, TypeError> {
        self.spaces();
        let start = self.position;
        self.word().ok_or_else(|| self.expected("a function's name"))?;
        if self.peek() == Some(b'(') {
            self.brackets()?;
        }
        let function = self.text[start..self.position].trim_end().to_owned();
        self.take(b',', "`,`")?;
        Ok(Type::SimpleAggregateFunction { function, ty: Box::new(self.ty()?) })
    }

    fn enum_values<T: TryFrom<i64> + Copy + Ord>(&mut self) -> Result<Vec<(String, T)>, TypeError> {
        let mut values: Vec<(String, T)> = Vec::new();
        loop {
            let name = self.quoted(b'\'', "a quoted enum name")?;
            self.take(b'=', "`=`")?;
            let value = self.integer("an enum value")?;
            let value = T::try_from(value).map_err(|_| self.expected("a value within the enum's width"))?;
            values.push((name, value));
            if self.peek() != Some(b',') {
                break;
            }
            self.position += 1;
        }
        values.sort_by_key(|(_, value)| *value);
        Ok(values)
    }

    fn json(&mut self) -> Result<JsonType, TypeError> {
        let mut json = JsonType::default();
        if self.peek() == Some(b')') {
            return Ok(json);
        }
        loop {
            self.json_argument(&mut json)?;
            if self.peek() != Some(b',') {
                return Ok(json);
            }
            self.position += 1;
        }
    }

    fn json_argument(&mut self, json: &mut JsonType) -> Result<(), TypeError> {
        let quoted = self.peek() == Some(b'`');
        let path = self.path()?;
        if !quoted && self.peek() == Some(b'=') {
            self.position += 1;
            let value = Some(self.number(0, u64::MAX, "a number")?);
            match path.as_str() {
                "max_dynamic_types" => json.max_dynamic_types = value,
                "max_dynamic_paths" => json.max_dynamic_paths = value,
                _ => return Err(self.expected("a parameter of JSON")),
            }
        } else if !quoted && path.eq_ignore_ascii_case("SKIP") {
            let skipped = self.path()?;
            if skipped.eq_ignore_ascii_case("REGEXP") && self.peek() == Some(b'\'') {
                json.skip_regexps.push(self.quoted(b'\'', "a quoted pattern")?);
            } else {
                json.skip_paths.push(skipped);
            }
        } else {
            json.paths.push((path, self.ty()?));
        }
        Ok(())
    }

    /// Identifiers with dots between them.
    fn path(&mut self) -> Result<String, TypeError> {
        let mut path = self.identifier()?;
        while self.text.as_bytes().get(self.position) == Some(&b'.') {
            self.position += 1;
            path.push('.');
            path.push_str(&self.identifier()?);
        }
        Ok(path)
    }

    /// Everything from `start` to the bracket that matches the one just taken.
    fn other(&mut self, start: usize) -> Result<Type, TypeError> {
        self.position -= 1;
        self.brackets()?;
        Ok(Type::Other(self.text[start..self.position].trim_start().to_owned()))
    }

    fn brackets(&mut self) -> Result<(), TypeError> {
        let mut open = 0usize;
        while let Some(byte) = self.text.as_bytes().get(self.position).copied() {
            match byte {
                b'\'' | b'`' => {
                    self.quoted(byte, "a closing quote")?;
                    continue;
                }
                b'(' => open += 1,
                b')' => open = open.saturating_sub(1),
                _ => {}
            }
            self.position += 1;
            if open == 0 {
                return Ok(());
            }
        }
        Err(self.expected("`)`"))
    }

    fn identifier(&mut self) -> Result<String, TypeError> {
        if self.peek() == Some(b'`') {
            return self.quoted(b'`', "a name");
        }
        self.word().map(str::to_owned).ok_or_else(|| self.expected("a name"))
    }

    fn quoted(&mut self, quote: u8, expected: &'static str) -> Result<String, TypeError> {
        if self.peek() != Some(quote) {
            return Err(self.expected(expected));
        }
        self.position += 1;
        let mut value = String::new();
        let mut chars = self.text[self.position..].char_indices();
        while let Some((index, c)) = chars.next() {
            if c == char::from(quote) {
                // A doubled quote is the quote itself.
                if self.text.as_bytes().get(self.position + index + 1) == Some(&quote) {
                    chars.next();
                    value.push(c);
                    continue;
                }
                self.position += index + 1;
                return Ok(value);
            }
            if c != '\\' {
                value.push(c);
                continue;
            }
            match chars.next() {
                Some((_, escaped)) => value.push(unescape(escaped)),
                None => break,
            }
        }
        self.position = self.text.len();
        Err(self.expected("a closing quote"))
    }

    fn small(&mut self, max: u8, expected: &'static str) -> Result<u8, TypeError> {
        Ok(self.number(0, u64::from(max), expected)? as u8)
    }

    fn number(&mut self, min: u64, max: u64, expected: &'static str) -> Result<u64, TypeError> {
        self.spaces();
        let digits = self.digits();
        match self.text[self.position..self.position + digits].parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => {
                self.position += digits;
                Ok(number)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn integer(&mut self, expected: &'static str) -> Result<i64, TypeError> {
        self.spaces();
        let negative = self.text.as_bytes().get(self.position) == Some(&b'-');
        self.position += usize::from(negative);
        let number = self.number(0, i64::MAX as u64, expected)? as i64;
        Ok(if negative { -number } else { number })
    }

    fn digits(&self) -> usize {
        self.text.as_bytes()[self.position..].iter().take_while(|b| b.is_ascii_digit()).count()
    }

    fn word(&mut self) -> Option<&'a str> {
        self.spaces();
        let text: &'a str = self.text;
        let length = text.as_bytes()[self.position..].iter().take_while(|b| word_byte(**b)).count();
        let word = &text[self.position..self.position + length];
        self.position += length;
        (length > 0).then_some(word)
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), TypeError> {
        if self.peek() != Some(byte) {
            return Err(self.expected(expected));
        }
        self.position += 1;
        Ok(())
    }

    /// The next byte that is not a space, which is left in place.
    fn peek(&mut self) -> Option<u8> {
        self.spaces();
        self.text.as_bytes().get(self.position).copied()
    }

    fn spaces(&mut self) {
        let rest = &self.text.as_bytes()[self.position..];
        self.position += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
    }

    fn expected(&self, expected: &'static str) -> TypeError {
        TypeError { text: self.text.chars().take(200).collect(), position: self.position, expected }
    }
}

fn word_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn unescape(escaped: char) -> char {
    match escaped {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0' => '\0',
        'a' => '\u{7}',
        'v' => '\u{b}',
        'e' => '\u{1b}',
        other => other,
    }
}

/// A type that stands without brackets.
fn without(name: &str) -> Type {
    let point = || Type::Tuple(vec![TupleElement { name: None, ty: Type::Float64 }; 2]);
    let alias = |name, ty: Type| Type::Alias { name, ty: Box::new(ty) };
    let ring = |name| alias(name, alias("Point", point()).array());
    match name {
        "Point" => alias("Point", point()),
        "Ring" => ring("Ring"),
        "LineString" => ring("LineString"),
        "MultiLineString" => alias("MultiLineString", ring("LineString").array()),
        "Polygon" => alias("Polygon", ring("Ring").array()),
        "MultiPolygon" => alias("MultiPolygon", alias("Polygon", ring("Ring").array()).array()),
        "JSON" => Type::Json(Box::default()),
        "DateTime64" => Type::DateTime64 { precision: 3, timezone: None },
        "Time64" => Type::Time64 { precision: 3 },
        "Decimal" => Type::Decimal { precision: 10, scale: 0 },
        _ => Type::of_plain_name(name).unwrap_or_else(|| Type::Other(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, position: usize, expected: &str) {
        let error = parse(text).unwrap_err();
        assert_eq!((error.position, error.expected), (position, expected), "{text}");
    }

    #[test]
    fn a_text_that_is_no_type_is_refused_at_its_place() {
        refused("", 0, "a type name");
        refused("Array(String", 12, "`)`");
        refused("Array(String))", 13, "the end");
        refused("Array()", 6, "a type name");
        refused("Map(String)", 10, "`,`");
        refused("FixedString(0)", 12, "a width from 1 to 16777215");
        refused("Decimal(77, 2)", 8, "a precision from 1 to 76");
        refused("Decimal(5, 6)", 11, "a scale from 0 to the precision");
        refused("DateTime64(10)", 11, "a precision from 0 to 9");
        refused("DateTime(UTC)", 9, "a quoted time zone");
        refused("Enum8('a' = 128)", 15, "a value within the enum's width");
        refused("Enum8('a)", 9, "a closing quote");
        refused("Unknown(')'", 11, "`)`");
        refused("JSON(max_paths=3)", 16, "a parameter of JSON");
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| "Array(".repeat(depth - 1) + "String" + &")".repeat(depth - 1);
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        refused(&nested(DEPTH_MAX + 1), 6 * DEPTH_MAX, "less nesting");
        assert!(parse(&"Array(".repeat(1_000_000)).is_err());
        assert!(parse(&"Unknown(".repeat(1_000_000)).is_err());
    }

    #[test]
    fn old_names_and_loose_spacing_are_understood() {
        let same = |text: &str, canonical: &str| assert_eq!(parse(text).unwrap().to_string(), canonical);
        same("Decimal32(3)", "Decimal(9, 3)");
        same("Decimal256(10)", "Decimal(76, 10)");
        same("DateTime64", "DateTime64(3)");
        same(" Tuple(\n    a  Int8,\n    `b c`   Array( String ))", "Tuple(a Int8, `b c` Array(String))");
        same("Variant(UInt64, String, UInt64)", "Variant(String, UInt64)");
        same("Enum8('b' = 2, 'a' = -1)", "Enum8('a' = -1, 'b' = 2)");
        same(
            "JSON(a.b UInt32, SKIP REGEXP 'x', SKIP c.d)",
            "JSON(`a.b` UInt32, SKIP `c.d`, SKIP REGEXP 'x')",
        );
    }
}
