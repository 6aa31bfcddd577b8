//! The text of a tree, byte for byte as the Confluent registry stores it: comments are gone, and so is
//! the order between kinds of declarations.

use std::fmt::Write;

use crate::protobuf::tree::{
    Call, Constant, Enumeration, Extend, Field, FieldType, File, Group, Message, NUMBER_MAX, Oneof, Range,
    Reserved, Service, Setting, SettingValue, Syntax, Type, enumerations, messages,
};

/// The text of a file.
pub(super) fn print(file: &File) -> String {
    let mut page = Page { text: String::new(), depth: 0 };
    page.file(file);
    page.text
}

struct Page {
    text: String,
    depth: usize,
}

impl Page {
    /// Writes lines, each with the blanks of this depth; blank lines have them too.
    fn lines(&mut self, lines: &str) {
        for line in lines.split('\n') {
            for _ in 0..self.depth {
                self.text.push_str("  ");
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    /// A section of a body: an empty line before it, unless it is the first.
    fn section(&mut self, first: &mut bool, write: impl FnOnce(&mut Self)) {
        if !std::mem::replace(first, false) {
            self.lines("");
        }
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    /// Closes a body whose head is `head {`: on the same line if nothing was written.
    fn body(&mut self, head: &str, empty: bool, write: impl FnOnce(&mut Self)) {
        if empty {
            self.lines(&format!("{head} {{}}"));
            return;
        }
        self.lines(&format!("{head} {{"));
        write(self);
        self.lines("}");
    }

    fn file(&mut self, file: &File) {
        match &file.syntax {
            Some(Syntax::Proto2) => self.lines("syntax = \"proto2\";"),
            Some(Syntax::Proto3) => self.lines("syntax = \"proto3\";"),
            Some(Syntax::Edition(edition)) => self.lines(&format!("edition = \"{edition}\";")),
            None => {}
        }
        if let Some(package) = &file.package {
            self.lines(&format!("package {package};"));
        }
        if !file.imports.is_empty() || !file.public_imports.is_empty() {
            self.lines("");
            file.imports.iter().for_each(|name| self.lines(&format!("import \"{name}\";")));
            file.public_imports.iter().for_each(|name| self.lines(&format!("import public \"{name}\";")));
        }
        if !file.options.is_empty() {
            self.lines("");
            self.settings(&file.options);
        }
        if !file.types.is_empty() {
            self.lines("");
            self.types(&file.types);
        }
        if !file.extends.is_empty() {
            self.lines("");
            file.extends.iter().for_each(|extend| self.extend(extend));
        }
        if !file.services.is_empty() {
            self.lines("");
            file.services.iter().for_each(|service| self.service(service));
        }
    }

    fn types(&mut self, types: &[Type]) {
        messages(types).for_each(|message| self.message(message));
        enumerations(types).for_each(|enumeration| self.enumeration(enumeration));
    }

    fn message(&mut self, message: &Message) {
        let Message { name, reserved, options, fields, oneofs, groups, extensions, extends, types } = message;
        let empty = [reserved.is_empty(), options.is_empty(), fields.is_empty(), oneofs.is_empty()]
            .into_iter()
            .chain([groups.is_empty(), extensions.is_empty(), extends.is_empty(), types.is_empty()])
            .all(|empty| empty);
        let mut first = true;
        self.body(&format!("message {name}"), empty, |page| {
            let first = &mut first;
            if !reserved.is_empty() {
                page.section(first, |page| reserved.iter().for_each(|one| page.reserved(one)));
            }
            if !options.is_empty() {
                page.section(first, |page| page.settings(options));
            }
            if !fields.is_empty() {
                page.section(first, |page| fields.iter().for_each(|field| page.field(field)));
            }
            if !oneofs.is_empty() {
                page.section(first, |page| oneofs.iter().for_each(|oneof| page.oneof(oneof)));
            }
            if !groups.is_empty() {
                page.section(first, |page| groups.iter().for_each(|group| page.group(group)));
            }
            if !extensions.is_empty() {
                page.section(first, |page| extensions.iter().for_each(|ranges| page.extensions(ranges)));
            }
            if !extends.is_empty() {
                page.section(first, |page| extends.iter().for_each(|extend| page.extend(extend)));
            }
            if !types.is_empty() {
                page.section(first, |page| page.types(types));
            }
        });
    }

    fn enumeration(&mut self, enumeration: &Enumeration) {
        let Enumeration { name, reserved, options, constants } = enumeration;
        let empty = reserved.is_empty() && options.is_empty() && constants.is_empty();
        self.body(&format!("enum {name}"), empty, |page| {
            page.section(&mut true, |page| {
                reserved.iter().for_each(|one| page.reserved(one));
                page.settings(options);
                constants.iter().for_each(|constant| page.constant(constant));
            });
        });
    }

    fn constant(&mut self, Constant { name, number, options }: &Constant) {
        self.lines(&format!("{name} = {number}{};", in_brackets(options)));
    }

    fn field(&mut self, field: &Field) {
        let Field { label, kind, name, number, default, json_name, options } = field;
        let label = label.map_or_else(String::new, |label| format!("{} ", label.as_str()));
        let mut options = options.clone();
        if let Some(default) = default {
            options.push(Setting::plain("default", default_value(kind, default)));
        }
        if let Some(json_name) = json_name {
            options.push(Setting::plain("json_name", SettingValue::Text(json_name.clone())));
        }
        self.lines(&format!("{label}{kind} {name} = {number}{};", in_brackets(&options)));
    }

    fn oneof(&mut self, Oneof { name, options, fields, groups }: &Oneof) {
        let empty = options.is_empty() && fields.is_empty() && groups.is_empty();
        let mut first = true;
        self.body(&format!("oneof {name}"), empty, |page| {
            if !options.is_empty() {
                page.section(&mut first, |page| page.settings(options));
            }
            if !fields.is_empty() {
                page.section(&mut first, |page| fields.iter().for_each(|field| page.field(field)));
            }
            if !groups.is_empty() {
                page.section(&mut first, |page| groups.iter().for_each(|group| page.group(group)));
            }
        });
    }

    fn group(&mut self, Group { label, name, number, fields }: &Group) {
        let label = label.map_or_else(String::new, |label| format!("{} ", label.as_str()));
        self.body(&format!("{label}group {name} = {number}"), fields.is_empty(), |page| {
            page.section(&mut true, |page| fields.iter().for_each(|field| page.field(field)));
        });
    }

    fn extend(&mut self, Extend { name, fields }: &Extend) {
        self.body(&format!("extend {name}"), fields.is_empty(), |page| {
            page.section(&mut true, |page| fields.iter().for_each(|field| page.field(field)));
        });
    }

    fn service(&mut self, Service { name, options, calls }: &Service) {
        let mut first = true;
        self.body(&format!("service {name}"), options.is_empty() && calls.is_empty(), |page| {
            if !options.is_empty() {
                page.section(&mut first, |page| page.settings(options));
            }
            if !calls.is_empty() {
                page.section(&mut first, |page| calls.iter().for_each(|call| page.call(call)));
            }
        });
    }

    fn call(&mut self, Call { name, request, response, options }: &Call) {
        let stream = |stream: bool| if stream { "stream " } else { "" };
        let head = format!(
            "rpc {name} ({}{}) returns ({}{})",
            stream(request.stream),
            request.kind,
            stream(response.stream),
            response.kind
        );
        if options.is_empty() {
            self.lines(&format!("{head};"));
            return;
        }
        self.lines(&format!("{head} {{"));
        self.depth += 1;
        self.settings(options);
        self.depth -= 1;
        self.lines("};");
    }

    fn settings(&mut self, options: &[Setting]) {
        options.iter().for_each(|option| self.lines(&format!("option {};", setting(option))));
    }

    fn reserved(&mut self, all: &[Reserved]) {
        let texts: Vec<String> = all
            .iter()
            .map(|one| match one {
                Reserved::Name(name) => format!("\"{name}\""),
                Reserved::Numbers(numbers) => range(numbers),
            })
            .collect();
        self.lines(&format!("reserved {};", texts.join(", ")));
    }

    fn extensions(&mut self, ranges: &[Range]) {
        let texts: Vec<String> = ranges.iter().map(range).collect();
        self.lines(&format!("extensions {};", texts.join(", ")));
    }
}

fn range(Range { first, last }: &Range) -> String {
    match last {
        None => first.to_string(),
        Some(last) if *last < NUMBER_MAX => format!("{first} to {last}"),
        Some(_) => format!("{first} to max"),
    }
}

/// A default as the Confluent registry writes it: in quotes for `string` alone, not for `bytes`.
fn default_value(kind: &FieldType, default: &str) -> SettingValue {
    match kind {
        FieldType::Named(name) if name == "string" => SettingValue::Text(default.to_owned()),
        FieldType::Named(_) | FieldType::Map { .. } => SettingValue::Word(default.to_owned()),
    }
}

fn in_brackets(options: &[Setting]) -> String {
    if options.is_empty() {
        return String::new();
    }
    format!(" {}", bracketed(options.iter().map(setting).collect()))
}

/// One value stays on the line; several have a line each.
fn bracketed(values: Vec<String>) -> String {
    match values.as_slice() {
        [one] => format!("[{one}]"),
        several => format!("[\n{}]", indented(several)),
    }
}

/// Values a line or more each, with commas between them.
fn indented(values: &[String]) -> String {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        let comma = if index + 1 < values.len() { "," } else { "" };
        for line in format!("{value}{comma}").split('\n') {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

pub(super) fn setting(Setting { name, custom, value }: &Setting) -> String {
    let name = if *custom { format!("({name})") } else { name.clone() };
    match value {
        SettingValue::Part(part) => format!("{name}.{}", setting(part)),
        SettingValue::List(list) => format!("{name} = {}", bracketed(list.iter().map(element).collect())),
        value => format!("{name} = {}", element(value)),
    }
}

/// A value inside of another; the text format of messages knows it too.
pub(super) fn element(value: &SettingValue) -> String {
    match value {
        SettingValue::Text(text) => format!("\"{}\"", escaped(text)),
        SettingValue::Word(word) | SettingValue::Number(word) => word.clone(),
        SettingValue::Map(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", element(value))).collect();
            format!("{{\n{}}}", indented(&entries))
        }
        SettingValue::List(list) => {
            let items: Vec<String> = list.iter().map(element).collect();
            format!("[\n{}]", indented(&items))
        }
        SettingValue::Part(part) => setting(part),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        let letter = match char {
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{b}' => 'v',
            '\\' | '\'' | '"' => char,
            other => {
                escaped.push(other);
                continue;
            }
        };
        escaped.push('\\');
        escaped.push(letter);
    }
    escaped
}
