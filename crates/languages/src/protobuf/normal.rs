//! The tree that is printed when formatting and order are not to count: full names, everything whose
//! order says nothing in one order, maps as maps.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::protobuf::names::{Definition, Names, join};
use crate::protobuf::tree::{
    Call, Enumeration, Extend, Field, FieldType, File, Group, Message, Oneof, Range, Reserved, Service,
    Setting, SettingValue, Side, Syntax, Type,
};

/// The normal form of a file.
pub(super) fn normal(file: &File, names: &Names<'_>) -> File {
    let scope = file.package.as_deref().unwrap_or_default();
    let normal = Normal { names };
    File {
        syntax: file.syntax.clone().filter(|syntax| *syntax != Syntax::Proto2),
        package: file.package.clone(),
        imports: sorted(&file.imports),
        public_imports: sorted(&file.public_imports),
        weak_imports: sorted(&file.weak_imports),
        options: normal.settings(scope, &file.options),
        types: normal.types(scope, &file.types),
        extends: normal.extends(scope, &file.extends),
        services: file.services.iter().map(|service| normal.service(scope, service)).collect(),
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

/// The tree without what extends others, but for what the registry itself says in options.
pub(super) fn without_extensions(file: &File) -> File {
    let mut file = file.clone();
    keep_known(&mut file.options);
    file.extends.clear();
    file.types.iter_mut().for_each(type_without_extensions);
    for service in &mut file.services {
        keep_known(&mut service.options);
        service.calls.iter_mut().for_each(|call| keep_known(&mut call.options));
    }
    file
}

fn keep_known(options: &mut Vec<Setting>) {
    options.retain(|option| !option.custom || option.name.starts_with("confluent."));
}

fn type_without_extensions(one: &mut Type) {
    match one {
        Type::Message(message) => {
            keep_known(&mut message.options);
            message.extends.clear();
            message.extensions.clear();
            let inside = message.oneofs.iter_mut().flat_map(|oneof| {
                keep_known(&mut oneof.options);
                &mut oneof.fields
            });
            message.fields.iter_mut().chain(inside).for_each(|field| keep_known(&mut field.options));
            message.types.iter_mut().for_each(type_without_extensions);
        }
        Type::Enumeration(enumeration) => {
            keep_known(&mut enumeration.options);
            enumeration.constants.iter_mut().for_each(|constant| keep_known(&mut constant.options));
        }
    }
}

struct Normal<'a> {
    names: &'a Names<'a>,
}

impl Normal<'_> {
    fn full_name(&self, scope: &str, name: &str) -> String {
        let found = self.names.resolve(scope, name);
        found.map_or_else(|| name.to_owned(), |(full, _)| format!(".{full}"))
    }

    fn types(&self, scope: &str, types: &[Type]) -> Vec<Type> {
        let normal = |one: &Type| match one {
            // Its map is written as a map.
            Type::Message(message) if message.map_entry() => None,
            Type::Message(message) => Some(Type::Message(self.message(scope, message))),
            Type::Enumeration(one) => Some(Type::Enumeration(self.enumeration(scope, one))),
        };
        types.iter().filter_map(normal).collect()
    }

    fn message(&self, scope: &str, message: &Message) -> Message {
        let scope = &join(scope, &message.name);
        let mut oneofs: Vec<Oneof> = message
            .oneofs
            .iter()
            .filter(|oneof| !oneof.fields.is_empty())
            .map(|oneof| Oneof {
                name: oneof.name.clone(),
                options: self.settings(scope, &oneof.options),
                fields: self.fields(scope, &oneof.fields),
                groups: self.groups(scope, &oneof.groups),
            })
            .collect();
        oneofs.sort_by_key(|oneof| oneof.fields[0].number);
        let mut extensions: Vec<Range> = message.extensions.iter().flatten().map(single).collect();
        extensions.sort_by_key(|range| range.first);
        Message {
            name: message.name.clone(),
            reserved: reserved(&message.reserved),
            options: self.settings(scope, &message.options),
            fields: self.fields(scope, &message.fields),
            oneofs,
            groups: self.groups(scope, &message.groups),
            extensions: extensions.into_iter().map(|range| vec![range]).collect(),
            extends: self.extends(scope, &message.extends),
            types: self.types(scope, &message.types),
        }
    }

    fn enumeration(&self, scope: &str, enumeration: &Enumeration) -> Enumeration {
        let mut constants = enumeration.constants.clone();
        for constant in &mut constants {
            constant.options = self.settings(scope, &constant.options);
        }
        constants.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
        Enumeration {
            name: enumeration.name.clone(),
            reserved: reserved(&enumeration.reserved),
            options: self.settings(scope, &enumeration.options),
            constants,
        }
    }

    fn fields(&self, scope: &str, fields: &[Field]) -> Vec<Field> {
        let mut fields: Vec<Field> = fields.iter().map(|field| self.field(scope, field)).collect();
        fields.sort_by_key(|field| field.number);
        fields
    }

    fn field(&self, scope: &str, field: &Field) -> Field {
        let kind = self.field_type(scope, &field.kind);
        let label = field.label.filter(|_| !matches!(kind, FieldType::Map { .. }));
        let numeric = matches!(&kind, FieldType::Named(name) if !name.starts_with('.') && name != "string");
        let default = field.default.as_ref().map(|text| if numeric { number(text) } else { text.clone() });
        Field { label, kind, default, options: self.settings(scope, &field.options), ..field.clone() }
    }

    fn field_type(&self, scope: &str, kind: &FieldType) -> FieldType {
        match kind {
            FieldType::Map { key, value } => {
                FieldType::Map { key: key.clone(), value: self.full_name(scope, value) }
            }
            FieldType::Named(name) => {
                let Some((full, named)) = self.names.resolve(scope, name) else { return kind.clone() };
                match named.definition {
                    Definition::Message(entry) if entry.map_entry() => {
                        let of = |number: i32| {
                            let field = entry.fields.iter().find(|field| field.number == number);
                            field.map_or_else(String::new, |field| field.kind.to_string())
                        };
                        FieldType::Map { key: of(1), value: self.full_name(full, &of(2)) }
                    }
                    Definition::Message(_) | Definition::Enumeration => FieldType::Named(format!(".{full}")),
                }
            }
        }
    }

    fn groups(&self, scope: &str, groups: &[Group]) -> Vec<Group> {
        let normal = |group: &Group| Group { fields: self.fields(scope, &group.fields), ..group.clone() };
        let mut groups: Vec<Group> = groups.iter().map(normal).collect();
        groups.sort_by_key(|group| group.number);
        groups
    }

    /// One for each message that is extended.
    fn extends(&self, scope: &str, extends: &[Extend]) -> Vec<Extend> {
        let mut fields: IndexMap<String, Vec<Field>> = IndexMap::new();
        for extend in extends {
            let all = fields.entry(self.full_name(scope, &extend.name)).or_default();
            all.extend(extend.fields.iter().map(|field| self.field(scope, field)));
        }
        let extend = |(name, mut fields): (String, Vec<Field>)| {
            fields.sort_by_key(|field| field.number);
            Extend { name, fields }
        };
        fields.into_iter().map(extend).collect()
    }

    fn service(&self, scope: &str, service: &Service) -> Service {
        let side = |side: &Side| Side { stream: side.stream, kind: self.full_name(scope, &side.kind) };
        let call = |call: &Call| Call {
            name: call.name.clone(),
            request: side(&call.request),
            response: side(&call.response),
            options: self.settings(scope, &call.options),
        };
        Service {
            name: service.name.clone(),
            options: self.settings(scope, &service.options),
            calls: service.calls.iter().map(call).collect(),
        }
    }

    fn settings(&self, scope: &str, options: &[Setting]) -> Vec<Setting> {
        let mut all: Vec<Setting> = options.iter().map(|option| self.setting(scope, option)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let mut merged: Vec<Setting> = Vec::with_capacity(all.len());
        let mut once = HashSet::new();
        for option in all {
            let single = option.custom && !self.names.repeated_extension(&option.name);
            match merged.last_mut() {
                Some(before) if single && !once.insert(option.name.clone()) => {
                    before.value =
                        merge(std::mem::replace(&mut before.value, option.value.clone()), option.value);
                }
                _ => {
                    once.insert(option.name.clone());
                    merged.push(option);
                }
            }
        }
        merged
    }

    fn setting(&self, scope: &str, Setting { name, custom, value }: &Setting) -> Setting {
        let value = self.value(scope, value);
        let extension = custom.then(|| self.names.resolve_extension(scope, name)).flatten();
        match (extension, value) {
            (Some(full), SettingValue::Part(part)) => {
                let map = IndexMap::from([(part.name, part.value)]);
                Setting { name: full.to_owned(), custom: true, value: SettingValue::Map(map) }
            }
            (Some(full), value) => Setting { name: full.to_owned(), custom: true, value },
            (None, value) => Setting { name: name.clone(), custom: *custom, value },
        }
    }

    fn value(&self, scope: &str, value: &SettingValue) -> SettingValue {
        match value {
            SettingValue::Text(_) | SettingValue::Word(_) => value.clone(),
            SettingValue::Number(text) => SettingValue::Number(number(text)),
            SettingValue::List(list) => {
                SettingValue::List(list.iter().map(|one| self.value(scope, one)).collect())
            }
            SettingValue::Part(part) => {
                let value = self.value(scope, &part.value);
                SettingValue::Part(Box::new(Setting { value, ..part.as_ref().clone() }))
            }
            SettingValue::Map(map) => {
                let entry = |(key, value): (&String, &SettingValue)| {
                    let name = key.strip_prefix('[').and_then(|key| key.strip_suffix(']'));
                    let full = name.and_then(|name| self.names.resolve_extension(scope, name));
                    let key = full.map_or_else(|| key.clone(), |full| format!("[{full}]"));
                    match self.value(scope, value) {
                        SettingValue::List(list) if list.is_empty() => None,
                        SettingValue::List(mut list) if list.len() == 1 => Some((key, list.remove(0))),
                        value => Some((key, value)),
                    }
                };
                let mut map: IndexMap<String, SettingValue> = map.iter().filter_map(entry).collect();
                map.sort_unstable_keys();
                SettingValue::Map(map)
            }
        }
    }
}

/// Two parts of one option.
fn merge(first: SettingValue, second: SettingValue) -> SettingValue {
    match (first, second) {
        (SettingValue::Map(mut all), SettingValue::Map(more)) => {
            for (key, value) in more {
                let value = match all.swap_remove(&key) {
                    Some(before) => merge(before, value),
                    None => value,
                };
                all.insert(key, value);
            }
            all.sort_unstable_keys();
            SettingValue::Map(all)
        }
        (_, second) => second,
    }
}

/// Each by itself, numbers before names.
fn reserved(all: &[Vec<Reserved>]) -> Vec<Vec<Reserved>> {
    let mut each: Vec<Reserved> = all
        .iter()
        .flatten()
        .map(|one| match one {
            Reserved::Numbers(numbers) => Reserved::Numbers(single(numbers)),
            Reserved::Name(name) => Reserved::Name(name.clone()),
        })
        .collect();
    each.sort_by_cached_key(|one| match one {
        Reserved::Numbers(numbers) => (numbers.first, numbers.last(), String::new()),
        Reserved::Name(name) => (i32::MAX, i32::MAX, name.clone()),
    });
    each.into_iter().map(|one| vec![one]).collect()
}

/// A range of one number is that number.
fn single(range: &Range) -> Range {
    Range { first: range.first, last: range.last.filter(|last| *last != range.first) }
}

/// A number as Java's `DecimalFormat` has it: without exponent, at most three digits behind the point.
fn number(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let sign = if digits.len() < text.len() { "-" } else { "" };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    if let Some(number) = hexadecimal.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        return format!("{sign}{number}");
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let trimmed = digits.trim_start_matches('0');
        return format!("{sign}{}", if trimmed.is_empty() { "0" } else { trimmed });
    }
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() && digits.starts_with(|first: char| first.is_ascii_digit()) => {
            let fixed = format!("{number:.3}");
            format!("{sign}{}", fixed.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}
