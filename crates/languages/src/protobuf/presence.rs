//! Which fields cannot tell that they were not written, though the descriptor says that they can: a file of
//! an edition is described as `proto2`, whose fields all can.

use std::collections::BTreeSet;

use crate::protobuf::describe::feature_of;
use crate::protobuf::names::join;
use crate::protobuf::tree::{File, Message, messages};

/// Those of a file: the full name of their message, and their numbers.
pub(super) fn implicit_fields(file: &File) -> BTreeSet<(String, i32)> {
    let mut found = BTreeSet::new();
    let scope = file.package.as_deref().unwrap_or_default();
    for message in messages(&file.types) {
        add(file, scope, message, &mut found);
    }
    found
}

/// The parser bounds how deep messages stand in each other.
fn add(file: &File, scope: &str, message: &Message, found: &mut BTreeSet<(String, i32)>) {
    let full_name = join(scope, &message.name);
    for inner in messages(&message.types) {
        add(file, &full_name, inner, found);
    }
    let implicit = message
        .fields
        .iter()
        .filter(|field| feature_of(file, &field.options, "field_presence") == Some("IMPLICIT"));
    found.extend(implicit.map(|field| (full_name.clone(), field.number)));
}
