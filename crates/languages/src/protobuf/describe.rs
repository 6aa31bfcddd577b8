//! From a tree to the descriptor that compilers and clients exchange. Names are left for the pool of
//! descriptors to resolve, and so are options, which are handed over uninterpreted.

mod settings;

use prost_types::descriptor_proto::{ExtensionRange, ReservedRange};
use prost_types::enum_descriptor_proto::EnumReservedRange;
use prost_types::field_descriptor_proto as wire;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, EnumValueDescriptorProto, EnumValueOptions,
    FieldDescriptorProto, FieldOptions, FileDescriptorProto, FileOptions, MessageOptions,
    MethodDescriptorProto, MethodOptions, OneofDescriptorProto, OneofOptions, ServiceDescriptorProto,
    ServiceOptions,
};

use crate::protobuf::names::{Definition, Names, join};
use crate::protobuf::tree::{
    Call, Enumeration, Extend, Field, FieldType, File, Group, Label, Message, NUMBER_MAX, Reserved, Service,
    Setting, Syntax, enumerations, messages,
};
use settings::{default_value, feature, given};

/// The descriptor of a file under a name.
///
/// Descriptors of the library know no editions: a file of one is described by the `proto2` file whose
/// values have the same bytes.
pub(super) fn describe(name: &str, file: &File, names: &Names<'_>) -> FileDescriptorProto {
    let place = Place { file, names };
    let scope = file.package.as_deref().unwrap_or_default();
    let dependency: Vec<String> = file.all_imports().map(str::to_owned).collect();
    let n = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let n_plain = n(file.imports.len());
    let n_public = n_plain + n(file.public_imports.len());
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: file.package.clone(),
        public_dependency: (n_plain..n_public).collect(),
        weak_dependency: (n_public..n(dependency.len())).collect(),
        dependency,
        message_type: messages(&file.types).map(|message| place.message(scope, message)).collect(),
        enum_type: enumerations(&file.types).map(|one| place.enumeration(one)).collect(),
        service: file.services.iter().map(|service| place.service(service)).collect(),
        extension: place.extensions(scope, &file.extends),
        options: given(&place.settings(&file.options), |uninterpreted_option| FileOptions {
            uninterpreted_option,
            ..FileOptions::default()
        }),
        source_code_info: None,
        syntax: Some(if place.proto3() { "proto3" } else { "proto2" }.to_owned()),
    }
}

/// What a file of an edition says of a feature of a field with these options; `None` if nothing does.
pub(super) fn feature_of<'a>(file: &'a File, options: &'a [Setting], name: &str) -> Option<&'a str> {
    file.edition().then(|| feature(options, name).or_else(|| feature(&file.options, name))).flatten()
}

struct Place<'a> {
    file: &'a File,
    names: &'a Names<'a>,
}

impl Place<'_> {
    fn proto3(&self) -> bool {
        self.file.syntax == Some(Syntax::Proto3)
    }

    fn edition(&self) -> bool {
        self.file.edition()
    }

    /// Options without an edition's features, which the descriptor says in other ways.
    fn settings(&self, options: &[Setting]) -> Vec<Setting> {
        let feature = |one: &Setting| !one.custom && one.name.split('.').next() == Some("features");
        options.iter().filter(|one| !self.edition() || !feature(one)).cloned().collect()
    }

    fn message(&self, scope: &str, message: &Message) -> DescriptorProto {
        let scope = &join(scope, &message.name);
        let mut made = DescriptorProto {
            name: Some(message.name.clone()),
            nested_type: messages(&message.types).map(|one| self.message(scope, one)).collect(),
            enum_type: enumerations(&message.types).map(|one| self.enumeration(one)).collect(),
            extension: self.extensions(scope, &message.extends),
            options: given(&self.settings(&message.options), |uninterpreted_option| MessageOptions {
                uninterpreted_option,
                ..MessageOptions::default()
            }),
            ..DescriptorProto::default()
        };
        for oneof in &message.oneofs {
            let index = i32::try_from(made.oneof_decl.len()).ok();
            made.oneof_decl.push(OneofDescriptorProto {
                name: Some(oneof.name.clone()),
                options: given(&self.settings(&oneof.options), |uninterpreted_option| OneofOptions {
                    uninterpreted_option,
                }),
            });
            for field in &oneof.fields {
                let field = self.field(scope, field, &mut made.nested_type);
                made.field.push(FieldDescriptorProto { oneof_index: index, ..field });
            }
            for group in &oneof.groups {
                let field = self.group(scope, group, &mut made.nested_type);
                made.field.push(FieldDescriptorProto { oneof_index: index, ..field });
            }
        }
        for field in &message.fields {
            let described = self.field(scope, field, &mut made.nested_type);
            made.field.push(described);
        }
        for group in &message.groups {
            let described = self.group(scope, group, &mut made.nested_type);
            made.field.push(described);
        }
        add_synthetic_oneofs(&mut made);
        add_ranges(&mut made, message);
        made
    }

    fn field(&self, scope: &str, field: &Field, entries: &mut Vec<DescriptorProto>) -> FieldDescriptorProto {
        let mut options = self.settings(&field.options);
        let presence = self.feature(&field.options, "field_presence");
        let label = match field.label {
            Some(Label::Repeated) => wire::Label::Repeated,
            Some(Label::Required) => wire::Label::Required,
            _ if matches!(field.kind, FieldType::Map { .. }) => wire::Label::Repeated,
            _ if presence == Some("LEGACY_REQUIRED") => wire::Label::Required,
            Some(Label::Optional) | None => wire::Label::Optional,
        };
        if self.edition() && label == wire::Label::Repeated && self.packable(scope, &field.kind) {
            let packed = self.feature(&field.options, "repeated_field_encoding") != Some("EXPANDED");
            options.push(settings::packed(packed));
        }
        let mut described = FieldDescriptorProto {
            name: Some(field.name.clone()),
            number: Some(field.number),
            label: Some(label.into()),
            default_value: field.default.as_deref().map(|text| default_value(&field.kind, text)),
            json_name: field.json_name.clone(),
            proto3_optional: (self.proto3() && field.label == Some(Label::Optional)).then_some(true),
            options: given(&options, |uninterpreted_option| FieldOptions {
                uninterpreted_option,
                ..FieldOptions::default()
            }),
            ..FieldDescriptorProto::default()
        };
        match &field.kind {
            FieldType::Named(name) => {
                self.set_type(&mut described, scope, name);
                let delimited = self.feature(&field.options, "message_encoding") == Some("DELIMITED");
                if delimited && described.r#type() == wire::Type::Message {
                    // Between a tag that begins it and one that ends it stand groups alone in `proto2`.
                    described.r#type = Some(wire::Type::Group.into());
                }
            }
            FieldType::Map { key, value } => {
                let entry = self.map_entry(scope, &field.name, (key, value));
                described.r#type = Some(wire::Type::Message.into());
                described.type_name = Some(format!(".{}", join(scope, entry.name())));
                entries.push(entry);
            }
        }
        described
    }

    fn feature<'b>(&'b self, options: &'b [Setting], name: &str) -> Option<&'b str> {
        feature_of(self.file, options, name)
    }

    fn packable(&self, scope: &str, kind: &FieldType) -> bool {
        let FieldType::Named(name) = kind else { return false };
        match scalar(name) {
            Some(scalar) => !matches!(scalar, wire::Type::String | wire::Type::Bytes),
            None => {
                let found = self.names.resolve(scope, name);
                found.is_some_and(|(_, named)| matches!(named.definition, Definition::Enumeration))
            }
        }
    }

    fn set_type(&self, field: &mut FieldDescriptorProto, scope: &str, name: &str) {
        if let Some(scalar) = scalar(name) {
            field.r#type = Some(scalar.into());
            return;
        }
        // A name that leads nowhere is left for the pool to complain of.
        field.type_name = Some(name.to_owned());
        if let Some((full, named)) = self.names.resolve(scope, name) {
            field.type_name = Some(format!(".{full}"));
            field.r#type = Some(match named.definition {
                Definition::Message(_) => wire::Type::Message.into(),
                Definition::Enumeration => wire::Type::Enum.into(),
            });
        }
    }

    /// The message that stands for a map's entries.
    fn map_entry(&self, scope: &str, field: &str, (key, value): (&str, &str)) -> DescriptorProto {
        let part = |name: &str, number: i32, kind: &str| {
            let mut part = FieldDescriptorProto {
                name: Some(name.to_owned()),
                number: Some(number),
                label: Some(wire::Label::Optional.into()),
                ..FieldDescriptorProto::default()
            };
            self.set_type(&mut part, scope, kind);
            part
        };
        DescriptorProto {
            name: Some(format!("{}Entry", camel(field))),
            field: vec![part("key", 1, key), part("value", 2, value)],
            options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
            ..DescriptorProto::default()
        }
    }

    fn group(&self, scope: &str, group: &Group, nested: &mut Vec<DescriptorProto>) -> FieldDescriptorProto {
        let message =
            Message { name: group.name.clone(), fields: group.fields.clone(), ..Message::default() };
        nested.push(self.message(scope, &message));
        let label = match group.label {
            Some(Label::Repeated) => wire::Label::Repeated,
            Some(Label::Required) => wire::Label::Required,
            Some(Label::Optional) | None => wire::Label::Optional,
        };
        FieldDescriptorProto {
            name: Some(group.name.to_ascii_lowercase()),
            number: Some(group.number),
            label: Some(label.into()),
            r#type: Some(wire::Type::Group.into()),
            type_name: Some(format!(".{}", join(scope, &group.name))),
            ..FieldDescriptorProto::default()
        }
    }

    fn extensions(&self, scope: &str, extends: &[Extend]) -> Vec<FieldDescriptorProto> {
        let fields = extends.iter().flat_map(|extend| {
            let full = self.names.resolve(scope, &extend.name).map(|(full, _)| format!(".{full}"));
            let extendee = full.unwrap_or_else(|| extend.name.clone());
            extend.fields.iter().map(move |field| (extendee.clone(), field))
        });
        let describe = |(extendee, field): (String, &Field)| {
            let described = self.field(scope, field, &mut Vec::new());
            FieldDescriptorProto { extendee: Some(extendee), ..described }
        };
        fields.map(describe).collect()
    }

    fn enumeration(&self, enumeration: &Enumeration) -> EnumDescriptorProto {
        let mut described = EnumDescriptorProto {
            name: Some(enumeration.name.clone()),
            options: given(&self.settings(&enumeration.options), |uninterpreted_option| EnumOptions {
                uninterpreted_option,
                ..EnumOptions::default()
            }),
            ..EnumDescriptorProto::default()
        };
        for constant in &enumeration.constants {
            described.value.push(EnumValueDescriptorProto {
                name: Some(constant.name.clone()),
                number: Some(constant.number),
                options: given(&self.settings(&constant.options), |uninterpreted_option| EnumValueOptions {
                    uninterpreted_option,
                    ..EnumValueOptions::default()
                }),
            });
        }
        for one in enumeration.reserved.iter().flatten() {
            match one {
                Reserved::Name(name) => described.reserved_name.push(name.clone()),
                Reserved::Numbers(range) => {
                    let last = if range.last() == NUMBER_MAX { i32::MAX } else { range.last() };
                    let range = EnumReservedRange { start: Some(range.first), end: Some(last) };
                    described.reserved_range.push(range);
                }
            }
        }
        described
    }

    fn service(&self, service: &Service) -> ServiceDescriptorProto {
        let method = |call: &Call| MethodDescriptorProto {
            name: Some(call.name.clone()),
            input_type: Some(call.request.kind.clone()),
            output_type: Some(call.response.kind.clone()),
            client_streaming: call.request.stream.then_some(true),
            server_streaming: call.response.stream.then_some(true),
            options: given(&self.settings(&call.options), |uninterpreted_option| MethodOptions {
                uninterpreted_option,
                ..MethodOptions::default()
            }),
        };
        ServiceDescriptorProto {
            name: Some(service.name.clone()),
            method: service.calls.iter().map(method).collect(),
            options: given(&self.settings(&service.options), |uninterpreted_option| ServiceOptions {
                uninterpreted_option,
                ..ServiceOptions::default()
            }),
        }
    }
}

/// An `optional` field of proto3 is a oneof of its own; those come last.
fn add_synthetic_oneofs(made: &mut DescriptorProto) {
    for field in &mut made.field {
        if field.proto3_optional == Some(true) {
            field.oneof_index = i32::try_from(made.oneof_decl.len()).ok();
            let name = Some(format!("_{}", field.name()));
            made.oneof_decl.push(OneofDescriptorProto { name, options: None });
        }
    }
}

fn add_ranges(made: &mut DescriptorProto, message: &Message) {
    for one in message.reserved.iter().flatten() {
        match one {
            Reserved::Name(name) => made.reserved_name.push(name.clone()),
            Reserved::Numbers(range) => made
                .reserved_range
                .push(ReservedRange { start: Some(range.first), end: Some(range.last().saturating_add(1)) }),
        }
    }
    for range in message.extensions.iter().flatten() {
        let end = Some(range.last().saturating_add(1));
        made.extension_range.push(ExtensionRange { start: Some(range.first), end, options: None });
    }
}

/// The type of this name that is none of somebody's own.
fn scalar(name: &str) -> Option<wire::Type> {
    Some(match name {
        "double" => wire::Type::Double,
        "float" => wire::Type::Float,
        "int64" => wire::Type::Int64,
        "uint64" => wire::Type::Uint64,
        "int32" => wire::Type::Int32,
        "fixed64" => wire::Type::Fixed64,
        "fixed32" => wire::Type::Fixed32,
        "bool" => wire::Type::Bool,
        "string" => wire::Type::String,
        "bytes" => wire::Type::Bytes,
        "uint32" => wire::Type::Uint32,
        "sfixed32" => wire::Type::Sfixed32,
        "sfixed64" => wire::Type::Sfixed64,
        "sint32" => wire::Type::Sint32,
        "sint64" => wire::Type::Sint64,
        _ => return None,
    })
}

/// A field's name in the spelling of messages.
fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    for part in name.split('_') {
        let mut chars = part.chars();
        camel.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(chars.as_str());
    }
    camel
}
