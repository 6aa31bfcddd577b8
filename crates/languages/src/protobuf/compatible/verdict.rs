//! The rules by name, with Confluent's messages and what would help.

use crate::incompatibility::Incompatibility;

/// What each side has at a place.
#[derive(Debug, Clone)]
pub(super) struct Sides {
    pub(super) old: String,
    pub(super) new: String,
}

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    PackageChanged,
    MessageRemoved,
    FieldKindChanged,
    FieldScalarKindChanged,
    FieldNamedTypeChanged,
    FieldNumericLabelChanged,
    RequiredFieldAdded,
    RequiredFieldRemoved,
    OneofFieldRemoved,
    MultipleFieldsMovedToOneof,
    FieldMovedToExistingOneof,
}

impl Rule {
    /// The rule broken at a path.
    pub(super) fn at(self, path: &str, sides: Sides) -> Incompatibility {
        let (rule, description, remedy) = self.texts();
        let description = description.replacen("PATH", path, 1);
        Incompatibility {
            rule,
            path: path.to_owned(),
            reader: sides.new,
            writer: sides.old,
            remedy: remedy.to_owned(),
            template: format!("{{errorType:\"{rule}\", description:\"{description}\"}}"),
        }
    }

    /// Name, Confluent's description with `PATH` in it, and remedy.
    const fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::PackageChanged => (
                "PACKAGE_CHANGED",
                "The package at 'PATH' in the %s schema does not match the package in the %s schema",
                "keep the package; what has another one belongs under another subject",
            ),
            Self::MessageRemoved => (
                "MESSAGE_REMOVED",
                "The %s schema is missing a MESSAGE type at path 'PATH' in the %s schema",
                "keep the message, if need be marked as deprecated",
            ),
            Self::FieldKindChanged => (
                "FIELD_KIND_CHANGED",
                "The type of a field at path 'PATH' in the %s schema does not match the %s schema",
                "keep the type, and add a field with a number of its own",
            ),
            Self::FieldScalarKindChanged => (
                "FIELD_SCALAR_KIND_CHANGED",
                "The kind of a SCALAR field at path 'PATH' in the %s schema does not match its kind in the %s schema",
                "take a type that is written alike (int32, int64, uint32, uint64, bool and enums; sint32 and \
                 sint64; string and bytes; fixed32 and sfixed32; fixed64 and sfixed64), or add a field with a \
                 number of its own",
            ),
            Self::FieldNamedTypeChanged => (
                "FIELD_NAMED_TYPE_CHANGED",
                "The type of a MESSAGE field at path 'PATH' in the %s schema does not match its type in the %s schema",
                "keep the message's name and what it holds compatible, or add a field with a number of its own",
            ),
            Self::FieldNumericLabelChanged => (
                "FIELD_NUMERIC_LABEL_CHANGED",
                "The label for a NUMERIC field at path 'PATH' in the %s schema does not match its label in the %s schema",
                "keep the label: repeated numbers are packed, single ones are not; or add a field with a number \
                 of its own",
            ),
            Self::RequiredFieldAdded => (
                "REQUIRED_FIELD_ADDED",
                "A required field  at path 'PATH' in the %s schema is missing in the %s schema",
                "make the field optional: messages that were written before lack it",
            ),
            Self::RequiredFieldRemoved => (
                "REQUIRED_FIELD_REMOVED",
                "The %s schema is missing a required field at path: 'PATH' in the %s schema",
                "keep the field",
            ),
            Self::OneofFieldRemoved => (
                "ONEOF_FIELD_REMOVED",
                "The %s schema is missing a oneof field at path 'PATH' in the %s schema",
                "keep the field in its oneof, or remove the whole oneof",
            ),
            Self::MultipleFieldsMovedToOneof => (
                "MULTIPLE_FIELDS_MOVED_TO_ONEOF",
                "Multiple fields in the oneof at path 'PATH' in the %s schema are outside a oneof in the %s schema",
                "move one field at most into a oneof, and only into a new one",
            ),
            Self::FieldMovedToExistingOneof => (
                "FIELD_MOVED_TO_EXISTING_ONEOF",
                "A field in the oneof at path 'PATH' in the %s schema is outside an existing oneof in the %s schema",
                "leave the field outside, or give it a new oneof of its own",
            ),
        }
    }
}
