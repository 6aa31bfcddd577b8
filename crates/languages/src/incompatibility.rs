//! What keeps a reader with one schema from reading what was written with another.

/// One reason, with its place and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// The rule's name, as the Confluent registry names it (`TYPE_MISMATCH`, `FIELD_KIND_CHANGED`).
    pub rule: &'static str,
    /// Where: a JSON Pointer into the reader's schema, or a field's path in Protobuf.
    pub path: String,
    /// What the reader's schema has there.
    pub reader: String,
    /// What the writer's schema has there.
    pub writer: String,
    /// What would make the two compatible.
    pub remedy: String,
    /// The Confluent registry's message, with `%s` first for the reader's schema, then for the writer's.
    pub(crate) template: String,
}

/// Which of two schemas came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The one that is being checked.
    New,
    /// The one that was registered before.
    Old,
}

impl Age {
    const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
        }
    }

    const fn other(self) -> &'static str {
        match self {
            Self::New => "old",
            Self::Old => "new",
        }
    }
}

impl Incompatibility {
    /// The message that the Confluent registry has for it, when the reader's schema is of this age.
    #[must_use]
    pub fn confluent_message(&self, reader: Age) -> String {
        self.template.replacen("%s", reader.word(), 1).replacen("%s", reader.other(), 1)
    }

    /// The reason in a sentence for people, with the remedy.
    #[must_use]
    pub fn explanation(&self) -> String {
        let Self { rule, path, reader, writer, remedy, .. } = self;
        format!("{rule} at `{path}`: the reader has {reader}, the writer {writer}; {remedy}")
    }
}
