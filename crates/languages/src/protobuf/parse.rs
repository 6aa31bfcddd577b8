//! From a `.proto` text to its tree.
//!
//! Syntax alone is looked at here: what names lead to, and whether numbers are taken twice, is looked at
//! when descriptors are made of the tree.

mod settings;

use std::collections::HashSet;

use crate::protobuf::ProtobufError;
use crate::protobuf::scan::Scanner;
use crate::protobuf::tree::{
    Call, Constant, Enumeration, Extend, Field, FieldType, File, Group, Label, Message, NUMBER_MAX, Oneof,
    Range, Reserved, Service, SettingValue, Side, Syntax, Type,
};

/// How deep messages, and the values of options, may nest. `protoc` stops at 32.
const NESTING_MAX: usize = 64;

/// How many messages, fields, enumerations and constants a file may declare; the largest that people have
/// declare a tenth. Descriptors take a kilobyte for each.
const DECLARATIONS_MAX: usize = 50_000;

/// How long a full name may be, in bytes. Descriptors have one for each declaration.
const NAME_MAX: usize = 512;

/// Reads a file.
///
/// # Errors
/// With line and column.
pub(super) fn parse(text: &str) -> Result<File, ProtobufError> {
    let mut parser =
        Parser { scan: Scanner::new(text), file: File::default(), depth: 0, n_declared: 0, scope_bytes: 0 };
    parser.read()?;
    Ok(parser.file)
}

struct Parser<'a> {
    scan: Scanner<'a>,
    file: File,
    depth: usize,
    n_declared: usize,
    /// The length of the full name of what is around.
    scope_bytes: usize,
}

type Parsed<T> = Result<T, ProtobufError>;

impl Parser<'_> {
    fn read(&mut self) -> Parsed<()> {
        let mut names = HashSet::new();
        let mut first = true;
        while !self.scan.exhausted()? {
            if self.scan.take(b';')? {
                continue;
            }
            let place = self.scan.place()?;
            let word = self.scan.word()?;
            match word {
                "syntax" | "edition" => {
                    if !first {
                        return Err(self.scan.wrong_at(place, format!("`{word}` must come first in a file")));
                    }
                    self.syntax(word)?;
                }
                "package" => self.package(place)?,
                "import" => self.import()?,
                "option" => {
                    let option = self.option_statement()?;
                    self.file.options.push(option);
                }
                "message" | "enum" => {
                    let declared = self.declared_type(word)?;
                    if !names.insert(declared.name().to_owned()) {
                        let message = format!("`{}` is defined twice", declared.name());
                        return Err(self.scan.wrong_at(place, message));
                    }
                    self.file.types.push(declared);
                }
                "service" => {
                    let service = self.service()?;
                    self.file.services.push(service);
                }
                "extend" => {
                    let extend = self.extend()?;
                    self.file.extends.push(extend);
                }
                other => return Err(self.unexpected(place, other)),
            }
            first = false;
        }
        Ok(())
    }

    fn unexpected(&self, place: usize, word: &str) -> ProtobufError {
        self.scan.wrong_at(place, format!("unexpected `{word}`"))
    }

    fn syntax(&mut self, word: &str) -> Parsed<()> {
        self.scan.require(b'=')?;
        let place = self.scan.place()?;
        let name = self.scan.quoted()?;
        self.file.syntax = Some(match (word, name.as_str()) {
            ("syntax", "proto2") => Syntax::Proto2,
            ("syntax", "proto3") => Syntax::Proto3,
            ("edition", "2023" | "2024") => Syntax::Edition(name),
            _ => {
                let message =
                    format!("`{name}` is unknown; expected proto2, proto3, or edition 2023 or 2024");
                return Err(self.scan.wrong_at(place, message));
            }
        });
        self.scan.require(b';')
    }

    fn package(&mut self, place: usize) -> Parsed<()> {
        if self.file.package.is_some() {
            return Err(self.scan.wrong_at(place, "a file has one `package`"));
        }
        let name = self.scan.word()?.to_owned();
        self.scope_bytes = name.len() + 1;
        self.file.package = Some(name);
        self.scan.require(b';')
    }

    /// The name of something that is declared.
    fn declared(&mut self) -> Parsed<String> {
        let name = self.scan.name()?;
        self.n_declared += 1;
        if self.n_declared > DECLARATIONS_MAX {
            return Err(self.scan.wrong(format!("more than {DECLARATIONS_MAX} declarations")));
        }
        if self.scope_bytes + name.len() > NAME_MAX {
            return Err(self.scan.wrong(format!("a full name is longer than {NAME_MAX} bytes")));
        }
        Ok(name)
    }

    fn import(&mut self) -> Parsed<()> {
        let place = self.scan.place()?;
        let list = match self.scan.peek()? {
            b'"' | b'\'' => &mut self.file.imports,
            _ => match self.scan.word()? {
                "public" => &mut self.file.public_imports,
                "weak" => &mut self.file.weak_imports,
                other => return Err(self.unexpected(place, other)),
            },
        };
        list.push(self.scan.quoted()?);
        self.scan.require(b';')
    }

    fn declared_type(&mut self, word: &str) -> Parsed<Type> {
        if word == "enum" {
            self.enumeration().map(Type::Enumeration)
        } else {
            self.message().map(Type::Message)
        }
    }

    /// Carries out a step one level deeper.
    fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == NESTING_MAX {
            return Err(self.scan.wrong(format!("nests deeper than {NESTING_MAX} levels")));
        }
        self.depth += 1;
        let done = step(self);
        self.depth -= 1;
        done
    }

    fn message(&mut self) -> Parsed<Message> {
        let mut message = Message { name: self.declared()?, ..Message::default() };
        self.scan.require(b'{')?;
        let outside = self.scope_bytes;
        self.scope_bytes += message.name.len() + 1;
        self.deeper(|parser| parser.message_body(&mut message))?;
        self.scope_bytes = outside;
        Ok(message)
    }

    fn message_body(&mut self, message: &mut Message) -> Parsed<()> {
        while !self.scan.take(b'}')? {
            if self.scan.take(b';')? {
                continue;
            }
            let place = self.scan.place()?;
            let word = self.scan.word()?;
            match word {
                "message" | "enum" => message.types.push(self.declared_type(word)?),
                "option" => message.options.push(self.option_statement()?),
                "reserved" => message.reserved.push(self.reserved()?),
                "extensions" => message.extensions.push(self.extensions()?),
                "extend" => message.extends.push(self.extend()?),
                "oneof" => message.oneofs.push(self.oneof()?),
                _ => match self.labelled(place, word)? {
                    Member::Field(field) => message.fields.push(field),
                    Member::Group(group) => message.groups.push(group),
                },
            }
        }
        Ok(())
    }

    /// A field or a group, whose first word has been read.
    fn labelled(&mut self, place: usize, word: &str) -> Parsed<Member> {
        let label = match word {
            "optional" => Some(Label::Optional),
            "required" => Some(Label::Required),
            "repeated" => Some(Label::Repeated),
            _ => None,
        };
        let proto2 = matches!(self.file.syntax, None | Some(Syntax::Proto2));
        if label == Some(Label::Required) && !proto2 {
            return Err(self.scan.wrong_at(place, "`required` is for proto2 only"));
        }
        let kind = match label {
            Some(_) => {
                let word = self.scan.word()?;
                self.field_type(word)?
            }
            None => self.field_type(word)?,
        };
        match (&kind, label) {
            (FieldType::Map { .. }, Some(_)) => Err(self.scan.wrong_at(place, "a map has no label")),
            (FieldType::Named(name), None) if proto2 => {
                let message = format!("expected `optional`, `required` or `repeated`, found `{name}`");
                Err(self.scan.wrong_at(place, message))
            }
            (FieldType::Named(name), _) if name == "group" => self.group(label).map(Member::Group),
            _ => self.field(label, kind).map(Member::Field),
        }
    }

    /// A type, whose first word has been read.
    fn field_type(&mut self, word: &str) -> Parsed<FieldType> {
        if word != "map" || self.scan.peek()? != b'<' {
            return Ok(FieldType::Named(word.to_owned()));
        }
        self.scan.require(b'<')?;
        let key = self.scan.word()?.to_owned();
        self.scan.require(b',')?;
        let value = self.scan.word()?.to_owned();
        self.scan.require(b'>')?;
        Ok(FieldType::Map { key, value })
    }

    fn field(&mut self, label: Option<Label>, kind: FieldType) -> Parsed<Field> {
        let name = self.declared()?;
        self.scan.require(b'=')?;
        let number = self.scan.integer()?;
        let mut options = self.options()?;
        self.scan.require(b';')?;
        // Both are written like options and are none.
        let mut special = |name: &str| {
            let last = options.iter().rev().find(|one| !one.custom && one.name == name);
            let value = last.map(|one| spelling(&one.value));
            options.retain(|one| one.custom || one.name != name);
            value
        };
        let (default, json_name) = (special("default"), special("json_name"));
        Ok(Field { label, kind, name, number, default, json_name, options })
    }

    fn group(&mut self, label: Option<Label>) -> Parsed<Group> {
        let name = self.declared()?;
        self.scan.require(b'=')?;
        let number = self.scan.integer()?;
        self.scan.require(b'{')?;
        let fields = self.deeper(|parser| parser.fields_only("a group"))?;
        Ok(Group { label, name, number, fields })
    }

    fn oneof(&mut self) -> Parsed<Oneof> {
        let name = self.declared()?;
        let mut oneof = Oneof { name, options: Vec::new(), fields: Vec::new(), groups: Vec::new() };
        self.scan.require(b'{')?;
        while !self.scan.take(b'}')? {
            if self.scan.take(b';')? {
                continue;
            }
            let place = self.scan.place()?;
            match self.scan.word()? {
                "option" => oneof.options.push(self.option_statement()?),
                "group" => oneof.groups.push(self.group(None)?),
                label @ ("optional" | "required" | "repeated") => {
                    let message = format!("expected a type in a oneof, found `{label}`");
                    return Err(self.scan.wrong_at(place, message));
                }
                word => match self.field_type(word)? {
                    FieldType::Map { .. } => {
                        return Err(self.scan.wrong_at(place, "a oneof cannot have a map"));
                    }
                    kind @ FieldType::Named(_) => oneof.fields.push(self.field(None, kind)?),
                },
            }
        }
        Ok(oneof)
    }

    /// The members of `whole` up to its closing brace, none of which may be a group.
    fn fields_only(&mut self, whole: &str) -> Parsed<Vec<Field>> {
        let mut fields = Vec::new();
        while !self.scan.take(b'}')? {
            if self.scan.take(b';')? {
                continue;
            }
            let place = self.scan.place()?;
            let word = self.scan.word()?;
            match self.labelled(place, word)? {
                Member::Field(field) => fields.push(field),
                Member::Group(_) => {
                    let message = format!("expected a field in {whole}, found a group");
                    return Err(self.scan.wrong_at(place, message));
                }
            }
        }
        Ok(fields)
    }

    fn extend(&mut self) -> Parsed<Extend> {
        let name = self.scan.word()?.to_owned();
        self.scan.require(b'{')?;
        let fields = self.fields_only("an extend")?;
        Ok(Extend { name, fields })
    }

    fn enumeration(&mut self) -> Parsed<Enumeration> {
        let mut read = Enumeration { name: self.declared()?, ..Enumeration::default() };
        self.scan.require(b'{')?;
        while !self.scan.take(b'}')? {
            if self.scan.take(b';')? {
                continue;
            }
            let name = self.declared()?;
            // Constants may have the names of keywords.
            let constant = self.scan.peek()? == b'=';
            match name.as_str() {
                "option" if !constant => read.options.push(self.option_statement()?),
                "reserved" if !constant => read.reserved.push(self.reserved()?),
                _ => {
                    self.scan.require(b'=')?;
                    let number = self.scan.integer()?;
                    let options = self.options()?;
                    self.scan.require(b';')?;
                    read.constants.push(Constant { name, number, options });
                }
            }
        }
        Ok(read)
    }

    fn service(&mut self) -> Parsed<Service> {
        let mut service = Service { name: self.declared()?, options: Vec::new(), calls: Vec::new() };
        self.scan.require(b'{')?;
        while !self.scan.take(b'}')? {
            if self.scan.take(b';')? {
                continue;
            }
            let place = self.scan.place()?;
            match self.scan.word()? {
                "option" => service.options.push(self.option_statement()?),
                "rpc" => service.calls.push(self.call()?),
                other => return Err(self.unexpected(place, other)),
            }
        }
        Ok(service)
    }

    fn call(&mut self) -> Parsed<Call> {
        let name = self.declared()?;
        let request = self.side()?;
        let place = self.scan.place()?;
        let word = self.scan.word()?;
        if word != "returns" {
            return Err(self.scan.wrong_at(place, format!("expected `returns`, found `{word}`")));
        }
        let response = self.side()?;
        let mut options = Vec::new();
        if self.scan.take(b'{')? {
            while !self.scan.take(b'}')? {
                if self.scan.take(b';')? {
                    continue;
                }
                let place = self.scan.place()?;
                match self.scan.word()? {
                    "option" => options.push(self.option_statement()?),
                    other => return Err(self.unexpected(place, other)),
                }
            }
        } else {
            self.scan.require(b';')?;
        }
        Ok(Call { name, request, response, options })
    }

    fn side(&mut self) -> Parsed<Side> {
        self.scan.require(b'(')?;
        let word = self.scan.word()?;
        let stream = word == "stream" && self.scan.peek()? != b')';
        let kind = if stream { self.scan.word()? } else { word }.to_owned();
        self.scan.require(b')')?;
        Ok(Side { stream, kind })
    }

    fn reserved(&mut self) -> Parsed<Vec<Reserved>> {
        let mut all = Vec::new();
        loop {
            all.push(match self.scan.peek()? {
                b'"' | b'\'' => Reserved::Name(self.reserved_name()?),
                // Editions write names without quotes.
                byte if byte.is_ascii_alphabetic() || byte == b'_' => Reserved::Name(self.scan.name()?),
                _ => Reserved::Numbers(self.range()?),
            });
            if self.scan.take(b';')? {
                return Ok(all);
            }
            self.scan.require(b',')?;
        }
    }

    /// A name in quotes. It is printed as it stands: what would end its line or its quotes is no name.
    fn reserved_name(&mut self) -> Parsed<String> {
        let place = self.scan.place()?;
        let name = self.scan.quoted()?;
        if name.contains(|char: char| char.is_control() || matches!(char, '"' | '\\')) {
            return Err(self.scan.wrong_at(place, format!("expected the name of a field, found {name:?}")));
        }
        Ok(name)
    }

    fn extensions(&mut self) -> Parsed<Vec<Range>> {
        let mut all = Vec::new();
        loop {
            all.push(self.range()?);
            // Options of ranges are for the compiler, and not kept.
            self.options()?;
            if self.scan.take(b';')? {
                return Ok(all);
            }
            self.scan.require(b',')?;
        }
    }

    fn range(&mut self) -> Parsed<Range> {
        let first = self.scan.integer()?;
        if matches!(self.scan.peek()?, b',' | b';' | b'[') {
            return Ok(Range { first, last: None });
        }
        let place = self.scan.place()?;
        let word = self.scan.word()?;
        if word != "to" {
            return Err(self.scan.wrong_at(place, format!("expected `to`, found `{word}`")));
        }
        let last = match self.scan.peek()? {
            b'm' => match self.scan.word()? {
                "max" => NUMBER_MAX,
                other => return Err(self.unexpected(place, other)),
            },
            _ => self.scan.integer()?,
        };
        Ok(Range { first, last: Some(last) })
    }
}

enum Member {
    Field(Field),
    Group(Group),
}

/// The text of a plain value; others have none that matters.
fn spelling(value: &SettingValue) -> String {
    match value {
        SettingValue::Text(text) | SettingValue::Word(text) | SettingValue::Number(text) => text.clone(),
        SettingValue::Map(_) | SettingValue::List(_) | SettingValue::Part(_) => String::new(),
    }
}
