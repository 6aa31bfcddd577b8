//! A `.proto` file as its text has it: nothing is resolved, options and numbers keep their spelling.

use indexmap::IndexMap;

/// The highest field number that there is.
pub(super) const NUMBER_MAX: i32 = 536_870_911;

/// A file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct File {
    pub(super) syntax: Option<Syntax>,
    pub(super) package: Option<String>,
    pub(super) imports: Vec<String>,
    pub(super) public_imports: Vec<String>,
    /// Read, and not printed: the Confluent registry drops them.
    pub(super) weak_imports: Vec<String>,
    pub(super) options: Vec<Setting>,
    pub(super) types: Vec<Type>,
    pub(super) extends: Vec<Extend>,
    pub(super) services: Vec<Service>,
}

impl File {
    /// Whether it follows the rules of an edition.
    pub(super) const fn edition(&self) -> bool {
        matches!(self.syntax, Some(Syntax::Edition(_)))
    }

    /// Every import, in the order in which they are printed.
    pub(super) fn all_imports(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().chain(&self.public_imports).chain(&self.weak_imports).map(String::as_str)
    }
}

/// Which rules a file follows; without any, those of `proto2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Syntax {
    Proto2,
    Proto3,
    /// An edition, such as `2023`.
    Edition(String),
}

/// A message or an enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Message(Message),
    Enumeration(Enumeration),
}

impl Type {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Message(message) => &message.name,
            Self::Enumeration(enumeration) => &enumeration.name,
        }
    }
}

/// The messages among types.
pub(super) fn messages(types: &[Type]) -> impl Iterator<Item = &Message> {
    types.iter().filter_map(|one| match one {
        Type::Message(message) => Some(message),
        Type::Enumeration(_) => None,
    })
}

/// The enumerations among types.
pub(super) fn enumerations(types: &[Type]) -> impl Iterator<Item = &Enumeration> {
    types.iter().filter_map(|one| match one {
        Type::Enumeration(enumeration) => Some(enumeration),
        Type::Message(_) => None,
    })
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) reserved: Vec<Vec<Reserved>>,
    pub(super) options: Vec<Setting>,
    pub(super) fields: Vec<Field>,
    pub(super) oneofs: Vec<Oneof>,
    pub(super) groups: Vec<Group>,
    pub(super) extensions: Vec<Vec<Range>>,
    pub(super) extends: Vec<Extend>,
    pub(super) types: Vec<Type>,
}

impl Message {
    /// Whether it stands for the entries of a map, as compilers write maps.
    pub(super) fn map_entry(&self) -> bool {
        self.options
            .iter()
            .any(|one| one.name == "map_entry" && one.value == SettingValue::Word("true".to_owned()))
    }
}

/// An enumeration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Enumeration {
    pub(super) name: String,
    pub(super) reserved: Vec<Vec<Reserved>>,
    pub(super) options: Vec<Setting>,
    pub(super) constants: Vec<Constant>,
}

/// One of an enumeration's constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) options: Vec<Setting>,
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Optional,
    Required,
    Repeated,
}

impl Label {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
            Self::Repeated => "repeated",
        }
    }
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldType {
    /// A scalar or, as it is written, the name of a type.
    Named(String),
    /// A map.
    Map { key: String, value: String },
}

impl std::fmt::Display for FieldType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Map { key, value } => write!(f, "map<{key}, {value}>"),
        }
    }
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) label: Option<Label>,
    pub(super) kind: FieldType,
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) default: Option<String>,
    pub(super) json_name: Option<String>,
    pub(super) options: Vec<Setting>,
}

/// Fields of which at most one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Oneof {
    pub(super) name: String,
    pub(super) options: Vec<Setting>,
    pub(super) fields: Vec<Field>,
    pub(super) groups: Vec<Group>,
}

/// A field and its message in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) label: Option<Label>,
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) fields: Vec<Field>,
}

/// Fields for somebody else's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extend {
    /// The message, as it is written.
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

/// What may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reserved {
    Name(String),
    Numbers(Range),
}

/// Numbers from the first to the last. One by itself is kept apart from a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: i32,
    pub(super) last: Option<i32>,
}

impl Range {
    pub(super) fn last(&self) -> i32 {
        self.last.unwrap_or(self.first)
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) options: Vec<Setting>,
    pub(super) calls: Vec<Call>,
}

/// One of a service's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) request: Side,
    pub(super) response: Side,
    pub(super) options: Vec<Setting>,
}

/// What a call takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) stream: bool,
    /// The message, as it is written.
    pub(super) kind: String,
}

/// An option with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    /// Whether the name is in parentheses: somebody's own.
    pub(super) custom: bool,
    pub(super) value: SettingValue,
}

impl Setting {
    pub(super) fn plain(name: &str, value: SettingValue) -> Self {
        Self { name: name.to_owned(), custom: false, value }
    }
}

/// An option's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SettingValue {
    Text(String),
    /// A truth value, or an enumeration's constant.
    Word(String),
    /// A number in its spelling.
    Number(String),
    Map(IndexMap<String, SettingValue>),
    List(Vec<SettingValue>),
    /// Of a part of the option: `(name).part = value`.
    Part(Box<Setting>),
}
