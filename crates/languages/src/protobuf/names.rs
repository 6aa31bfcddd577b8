//! What the names in a file lead to.

use std::collections::HashMap;

use crate::protobuf::ProtobufSchema;
use crate::protobuf::tree::{Extend, File, Label, Message, Type};

/// The types of a schema and of everything that it imports, by full name.
pub(super) struct Names<'a> {
    types: HashMap<String, Named<'a>>,
    /// Extensions, and whether they are repeated.
    extensions: HashMap<String, bool>,
}

/// A type with its place.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// The package of its file; empty if it names none.
    pub(super) package: &'a str,
    pub(super) definition: Definition<'a>,
}

/// A message or an enumeration.
#[derive(Clone, Copy)]
pub(super) enum Definition<'a> {
    Message(&'a Message),
    Enumeration,
}

impl<'a> Names<'a> {
    pub(super) fn of(schema: &'a ProtobufSchema) -> Self {
        let mut names = Self { types: HashMap::new(), extensions: HashMap::new() };
        for file in schema.imports.values().map(AsRef::as_ref).chain([&schema.file]) {
            names.add_file(file);
        }
        names
    }

    fn add_file(&mut self, file: &'a File) {
        let package = file.package.as_deref().unwrap_or_default();
        self.add_extensions(package, &file.extends);
        self.add_types(package, package, &file.types);
    }

    fn add_extensions(&mut self, scope: &str, extends: &[Extend]) {
        for field in extends.iter().flat_map(|extend| &extend.fields) {
            self.extensions.insert(join(scope, &field.name), field.label == Some(Label::Repeated));
        }
    }

    fn add_types(&mut self, package: &'a str, scope: &str, types: &'a [Type]) {
        for one in types {
            let full_name = join(scope, one.name());
            let definition = match one {
                Type::Message(message) => {
                    self.add_extensions(&full_name, &message.extends);
                    self.add_types(package, &full_name, &message.types);
                    Definition::Message(message)
                }
                Type::Enumeration(_) => Definition::Enumeration,
            };
            self.types.insert(full_name, Named { package, definition });
        }
    }

    /// The type that a name leads to from inside of a scope, with its full name.
    pub(super) fn resolve(&self, scope: &str, name: &str) -> Option<(&str, Named<'a>)> {
        let found = |full: &str| self.types.get_key_value(full).map(|(name, named)| (name.as_str(), *named));
        outwards(scope, name, found)
    }

    /// The full name of the extension that a name leads to from inside of a scope.
    pub(super) fn resolve_extension(&self, scope: &str, name: &str) -> Option<&str> {
        outwards(scope, name, |full| self.extensions.get_key_value(full).map(|(name, _)| name.as_str()))
    }

    /// Whether an extension may be said several times.
    pub(super) fn repeated_extension(&self, full_name: &str) -> bool {
        self.extensions.get(full_name).copied().unwrap_or(false)
    }
}

/// The first that is found for a name in a scope and in those around it.
fn outwards<T>(scope: &str, name: &str, find: impl Fn(&str) -> Option<T>) -> Option<T> {
    if let Some(absolute) = name.strip_prefix('.') {
        return find(absolute);
    }
    let mut scope = scope;
    loop {
        if let Some(found) = find(&join(scope, name)) {
            return Some(found);
        }
        if scope.is_empty() {
            return None;
        }
        scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
    }
}

/// A name inside of a scope.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
