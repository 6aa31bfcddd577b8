//! From a descriptor, which is what clients without a text register, to the tree of its text: in the
//! order, and with the options, that the Confluent registry writes down.

use indexmap::IndexMap;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, ReflectMessage, Value};
use prost_types::field_descriptor_proto as wire;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

use crate::protobuf::names::join;
use crate::protobuf::tree::{
    Call, Constant, Enumeration, Extend, Field, FieldType, File, Label, Message, Oneof, Range, Reserved,
    Service, Setting, SettingValue, Side, Syntax, Type,
};

/// Options that are written down, in this order; others are dropped.
const FILE_OPTIONS: &[&str] = &[
    "java_package",
    "java_outer_classname",
    "java_multiple_files",
    "java_generate_equals_and_hash",
    "java_string_check_utf8",
    "optimize_for",
    "go_package",
    "cc_generic_services",
    "java_generic_services",
    "py_generic_services",
    "php_generic_services",
    "deprecated",
    "cc_enable_arenas",
    "objc_class_prefix",
    "csharp_namespace",
    "swift_prefix",
    "php_class_prefix",
    "php_namespace",
    "php_metadata_namespace",
    "ruby_package",
];
const MESSAGE_OPTIONS: &[&str] = &["no_standard_descriptor_accessor", "deprecated", "map_entry"];
const FIELD_OPTIONS: &[&str] = &["ctype", "packed", "jstype", "deprecated"];
const ENUM_OPTIONS: &[&str] = &["allow_alias", "deprecated"];
const METHOD_OPTIONS: &[&str] = &["deprecated", "idempotency_level"];
const DEPRECATED: &[&str] = &["deprecated"];

/// The tree of a file that the pool knows. Of the descriptor comes what was said, of the pool what
/// custom options mean.
pub(super) fn tree(file: &FileDescriptorProto, pool: &DescriptorPool) -> File {
    let reader = Reader { pool, proto3: file.syntax() == "proto3" };
    let (mut imports, mut public_imports) = (Vec::new(), Vec::new());
    for (index, name) in file.dependency.iter().enumerate() {
        let public = file.public_dependency.iter().any(|one| usize::try_from(*one) == Ok(index));
        if public { &mut public_imports } else { &mut imports }.push(name.clone());
    }
    let package = file.package();
    let messages = file.message_type.iter().map(|one| Type::Message(reader.message(package, one)));
    let enumerations = file.enum_type.iter().map(|one| Type::Enumeration(reader.enumeration(package, one)));
    let options = pool.get_file_by_name(file.name()).map(|file| file.options());
    File {
        syntax: match file.syntax() {
            "proto3" => Some(Syntax::Proto3),
            "proto2" => Some(Syntax::Proto2),
            _ => None,
        },
        package: Some(package.to_owned()).filter(|package| !package.is_empty()),
        imports,
        public_imports,
        weak_imports: Vec::new(),
        options: settings(options, FILE_OPTIONS),
        types: messages.chain(enumerations).collect(),
        extends: reader.extends(package, &file.extension),
        services: file.service.iter().map(|service| reader.service(package, service)).collect(),
    }
}

struct Reader<'a> {
    pool: &'a DescriptorPool,
    proto3: bool,
}

impl Reader<'_> {
    fn message(&self, scope: &str, message: &DescriptorProto) -> Message {
        let full = join(scope, message.name());
        let described = self.pool.get_message_by_name(&full);
        let mut made = Message { name: message.name().to_owned(), ..Message::default() };
        made.oneofs = message
            .oneof_decl
            .iter()
            .map(|one| Oneof {
                name: one.name().to_owned(),
                options: Vec::new(),
                fields: Vec::new(),
                groups: Vec::new(),
            })
            .collect();
        for field in &message.field {
            let found = described.as_ref().and_then(|one| one.get_field_by_name(field.name()));
            let options = settings(found.map(|found| found.options()), FIELD_OPTIONS);
            let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
            let oneof = oneof.and_then(|index| made.oneofs.get_mut(usize::try_from(index).ok()?));
            match oneof {
                Some(oneof) => oneof.fields.push(Field { label: None, ..self.field(field, options) }),
                None => made.fields.push(self.field(field, options)),
            }
        }
        made.oneofs.retain(|oneof| !oneof.fields.is_empty());
        made.types.extend(message.nested_type.iter().map(|one| Type::Message(self.message(&full, one))));
        let enumerations = message.enum_type.iter();
        made.types.extend(enumerations.map(|one| Type::Enumeration(self.enumeration(&full, one))));
        let numbers = message.reserved_range.iter().map(|range| exclusive(range.start(), range.end()));
        let names = message.reserved_name.iter().cloned().map(Reserved::Name);
        made.reserved = numbers.map(Reserved::Numbers).chain(names).map(|one| vec![one]).collect();
        let ranges = message.extension_range.iter();
        made.extensions = ranges.map(|range| vec![exclusive(range.start(), range.end())]).collect();
        made.extends = self.extends(&full, &message.extension);
        made.options = settings(described.map(|one| one.options()), MESSAGE_OPTIONS);
        made
    }

    fn field(&self, field: &FieldDescriptorProto, options: Vec<Setting>) -> Field {
        let label = match field.label() {
            _ if field.proto3_optional() => Some(Label::Optional),
            wire::Label::Repeated => Some(Label::Repeated),
            wire::Label::Optional | wire::Label::Required if self.proto3 => None,
            wire::Label::Optional => Some(Label::Optional),
            wire::Label::Required => Some(Label::Required),
        };
        let kind = match &field.type_name {
            Some(name) => name.clone(),
            None => scalar(field.r#type()).to_owned(),
        };
        Field {
            label,
            kind: FieldType::Named(kind),
            name: field.name().to_owned(),
            number: field.number(),
            default: field.default_value.clone().filter(|_| !self.proto3),
            json_name: field.json_name.clone(),
            options,
        }
    }

    fn extends(&self, scope: &str, fields: &[FieldDescriptorProto]) -> Vec<Extend> {
        let mut extends: IndexMap<String, Vec<Field>> = IndexMap::new();
        for field in fields {
            let found = self.pool.get_extension_by_name(&join(scope, field.name()));
            let options = settings(found.map(|found| found.options()), FIELD_OPTIONS);
            extends.entry(field.extendee().to_owned()).or_default().push(self.field(field, options));
        }
        extends.into_iter().map(|(name, fields)| Extend { name, fields }).collect()
    }

    fn enumeration(&self, scope: &str, enumeration: &EnumDescriptorProto) -> Enumeration {
        let described = self.pool.get_enum_by_name(&join(scope, enumeration.name()));
        let constants = enumeration.value.iter().map(|value| {
            let found = described.as_ref().and_then(|one| one.get_value_by_name(value.name()));
            Constant {
                name: value.name().to_owned(),
                number: value.number(),
                options: settings(found.map(|found| found.options()), DEPRECATED),
            }
        });
        let constants = constants.collect();
        let numbers = enumeration.reserved_range.iter().map(|range| inclusive(range.start(), range.end()));
        let names = enumeration.reserved_name.iter().cloned().map(Reserved::Name);
        Enumeration {
            name: enumeration.name().to_owned(),
            reserved: numbers.map(Reserved::Numbers).chain(names).map(|one| vec![one]).collect(),
            options: settings(described.map(|one| one.options()), ENUM_OPTIONS),
            constants,
        }
    }

    fn service(&self, scope: &str, service: &ServiceDescriptorProto) -> Service {
        let described = self.pool.get_service_by_name(&join(scope, service.name()));
        let calls = service.method.iter().enumerate().map(|(index, method)| {
            let found = described.as_ref().and_then(|one| one.methods().nth(index));
            let side = |stream: bool, kind: &str| Side { stream, kind: kind.to_owned() };
            Call {
                name: method.name().to_owned(),
                request: side(method.client_streaming(), method.input_type()),
                response: side(method.server_streaming(), method.output_type()),
                options: settings(found.map(|found| found.options()), METHOD_OPTIONS),
            }
        });
        let calls = calls.collect();
        let options = settings(described.map(|one| one.options()), DEPRECATED);
        Service { name: service.name().to_owned(), options, calls }
    }
}

fn exclusive(first: i32, end: i32) -> Range {
    inclusive(first, end.saturating_sub(1))
}

fn inclusive(first: i32, last: i32) -> Range {
    Range { first, last: Some(last).filter(|last| *last != first) }
}

/// The options that were set: those of everybody by name, then those of somebody by number.
fn settings(options: Option<DynamicMessage>, known: &[&str]) -> Vec<Setting> {
    let Some(options) = options else { return Vec::new() };
    let mut all = Vec::new();
    for name in known {
        let Some(field) = options.descriptor().get_field_by_name(name) else { continue };
        if options.has_field(&field) {
            all.push(Setting::plain(name, value(&options.get_field(&field), &field.kind())));
        }
    }
    for (extension, set) in options.extensions() {
        let name = extension.full_name().to_owned();
        let each: Vec<&Value> = match set {
            Value::List(list) => list.iter().collect(),
            one => vec![one],
        };
        let kind = extension.kind();
        all.extend(each.into_iter().map(|one| Setting {
            name: name.clone(),
            custom: true,
            value: value(one, &kind),
        }));
    }
    all
}

fn value(set: &Value, kind: &Kind) -> SettingValue {
    match set {
        Value::Bool(value) => SettingValue::Word(value.to_string()),
        Value::I32(number) => SettingValue::Number(number.to_string()),
        Value::I64(number) => SettingValue::Number(number.to_string()),
        Value::U32(number) => SettingValue::Number(number.to_string()),
        Value::U64(number) => SettingValue::Number(number.to_string()),
        Value::F32(number) => SettingValue::Number(format!("{number:?}")),
        Value::F64(number) => SettingValue::Number(format!("{number:?}")),
        Value::String(text) => SettingValue::Text(text.clone()),
        Value::Bytes(bytes) => SettingValue::Text(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Value::EnumNumber(number) => {
            let constant = kind.as_enum().and_then(|one| one.get_value(*number));
            let name = constant.map(|constant| constant.name().to_owned());
            SettingValue::Word(name.unwrap_or_else(|| number.to_string()))
        }
        Value::Message(message) => SettingValue::Map(map(message)),
        Value::List(list) => SettingValue::List(list.iter().map(|one| value(one, kind)).collect()),
        Value::Map(entries) => {
            let Some(entry) = kind.as_message() else { return SettingValue::List(Vec::new()) };
            let (key_kind, value_kind) =
                (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            let mut pairs: Vec<(Value, &Value)> =
                entries.iter().map(|(key, value)| (Value::from(key.clone()), value)).collect();
            pairs.sort_by_cached_key(|(key, _)| format!("{key:?}"));
            let pair = |(key, set): (Value, &Value)| {
                SettingValue::Map(IndexMap::from([
                    ("key".to_owned(), value(&key, &key_kind)),
                    ("value".to_owned(), value(set, &value_kind)),
                ]))
            };
            SettingValue::List(pairs.into_iter().map(pair).collect())
        }
    }
}

fn map(message: &DynamicMessage) -> IndexMap<String, SettingValue> {
    let fields = message.fields().map(|(field, set)| (field.name().to_owned(), value(set, &field.kind())));
    let extensions = message
        .extensions()
        .map(|(extension, set)| (format!("[{}]", extension.full_name()), value(set, &extension.kind())));
    fields.chain(extensions).collect()
}

const fn scalar(kind: wire::Type) -> &'static str {
    match kind {
        wire::Type::Double => "double",
        wire::Type::Float => "float",
        wire::Type::Int64 => "int64",
        wire::Type::Uint64 => "uint64",
        wire::Type::Int32 => "int32",
        wire::Type::Fixed64 => "fixed64",
        wire::Type::Fixed32 => "fixed32",
        wire::Type::Bool => "bool",
        wire::Type::String => "string",
        wire::Type::Group => "group",
        wire::Type::Message => "message",
        wire::Type::Bytes => "bytes",
        wire::Type::Uint32 => "uint32",
        wire::Type::Enum => "enum",
        wire::Type::Sfixed32 => "sfixed32",
        wire::Type::Sfixed64 => "sfixed64",
        wire::Type::Sint32 => "sint32",
        wire::Type::Sint64 => "sint64",
    }
}
