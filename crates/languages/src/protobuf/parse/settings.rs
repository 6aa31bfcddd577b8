//! Options and their values.

use indexmap::IndexMap;

use super::{Parsed, Parser};
use crate::protobuf::tree::{Setting, SettingValue};

impl Parser<'_> {
    /// An option after the word that announces it.
    pub(super) fn option_statement(&mut self) -> Parsed<Setting> {
        let option = self.option(b'=')?;
        self.scan.require(b';')?;
        Ok(option)
    }

    /// The options in brackets, if there are any.
    pub(super) fn options(&mut self) -> Parsed<Vec<Setting>> {
        let mut all = Vec::new();
        if !self.scan.take(b'[')? {
            return Ok(all);
        }
        loop {
            all.push(self.option(b'=')?);
            if self.scan.take(b']')? {
                return Ok(all);
            }
            self.scan.require(b',')?;
        }
    }

    fn option(&mut self, separator: u8) -> Parsed<Setting> {
        let (custom, name) = match self.scan.peek()? {
            b'(' => (true, self.wrapped(b'(', b')')?),
            b'[' => (false, format!("[{}]", self.wrapped(b'[', b']')?)),
            _ => (false, self.scan.word()?.to_owned()),
        };
        let part = if self.scan.peek()? == b'.' { Some(self.scan.word()?) } else { None };
        if separator != b':' || self.scan.peek()? != b'{' {
            self.scan.require(separator)?;
        }
        let value = self.value()?;
        let value = match part.map(|part| part.trim_start_matches('.')) {
            Some(part) => {
                SettingValue::Part(Box::new(Setting { name: part.to_owned(), custom: false, value }))
            }
            None => value,
        };
        Ok(Setting { name, custom, value })
    }

    fn wrapped(&mut self, open: u8, close: u8) -> Parsed<String> {
        self.scan.require(open)?;
        let mut name = self.scan.word()?.to_owned();
        // A type's address in an `Any`.
        while open == b'[' && self.scan.take(b'/')? {
            name.push('/');
            name.push_str(self.scan.word()?);
        }
        self.scan.require(close)?;
        Ok(name)
    }

    fn value(&mut self) -> Parsed<SettingValue> {
        Ok(match self.scan.peek()? {
            b'{' => self.deeper(Self::map)?,
            b'[' => self.deeper(Self::list)?,
            b'"' | b'\'' => SettingValue::Text(self.scan.quoted()?),
            byte if byte.is_ascii_digit() || byte == b'-' => {
                let mut number = self.scan.word()?.to_owned();
                // `1e+5` is one number, and a sign ends a word.
                if number.ends_with(['e', 'E']) && !number.starts_with("0x") && self.scan.take(b'+')? {
                    number.push('+');
                    number.push_str(self.scan.word()?);
                }
                SettingValue::Number(number)
            }
            _ => SettingValue::Word(self.scan.word()?.to_owned()),
        })
    }

    /// A map; what is said twice is a list.
    fn map(&mut self) -> Parsed<SettingValue> {
        self.scan.require(b'{')?;
        let mut all: IndexMap<String, SettingValue> = IndexMap::new();
        while !self.scan.take(b'}')? {
            let Setting { name, value, .. } = self.option(b':')?;
            match (all.get_mut(&name), value) {
                (Some(SettingValue::List(before)), SettingValue::List(more)) => before.extend(more),
                (Some(SettingValue::List(before)), more) => before.push(more),
                (Some(SettingValue::Map(before)), SettingValue::Part(more)) => {
                    before.insert(more.name, more.value);
                }
                (Some(before), more) => {
                    let first = std::mem::replace(before, SettingValue::List(Vec::new()));
                    let mut list = vec![first];
                    match more {
                        SettingValue::List(more) => list.extend(more),
                        more => list.push(more),
                    }
                    *before = SettingValue::List(list);
                }
                (None, SettingValue::Part(part)) => {
                    let nested = IndexMap::from([(part.name, part.value)]);
                    all.insert(name, SettingValue::Map(nested));
                }
                (None, value) => {
                    all.insert(name, value);
                }
            }
            // Entries may be separated, or not.
            let _separated = self.scan.take(b',')? || self.scan.take(b';')?;
        }
        Ok(SettingValue::Map(all))
    }

    fn list(&mut self) -> Parsed<SettingValue> {
        self.scan.require(b'[')?;
        let mut all = Vec::new();
        while !self.scan.take(b']')? {
            all.push(self.value()?);
            if !self.scan.take(b',')? && self.scan.peek()? != b']' {
                return Err(self.scan.wrong("expected `,` or `]`"));
            }
        }
        Ok(SettingValue::List(all))
    }
}
