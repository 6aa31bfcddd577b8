//! Files that everybody may import without naming them as references.

use prost_reflect::DescriptorPool;

use crate::protobuf::parse;
use crate::protobuf::read_descriptor;
use crate::protobuf::tree::File;

/// The texts of those that the library of descriptors does not know.
const TEXTS: [(&str, &str); 20] = [
    ("confluent/meta.proto", include_str!("builtin/confluent_meta.proto")),
    ("confluent/type/decimal.proto", include_str!("builtin/confluent_decimal.proto")),
    ("confluent/types/decimal.proto", include_str!("builtin/confluent_decimal.proto")),
    ("google/type/calendar_period.proto", include_str!("builtin/calendar_period.proto")),
    ("google/type/color.proto", include_str!("builtin/color.proto")),
    ("google/type/date.proto", include_str!("builtin/date.proto")),
    ("google/type/datetime.proto", include_str!("builtin/datetime.proto")),
    ("google/type/dayofweek.proto", include_str!("builtin/dayofweek.proto")),
    ("google/type/decimal.proto", include_str!("builtin/decimal.proto")),
    ("google/type/expr.proto", include_str!("builtin/expr.proto")),
    ("google/type/fraction.proto", include_str!("builtin/fraction.proto")),
    ("google/type/interval.proto", include_str!("builtin/interval.proto")),
    ("google/type/latlng.proto", include_str!("builtin/latlng.proto")),
    ("google/type/localized_text.proto", include_str!("builtin/localized_text.proto")),
    ("google/type/money.proto", include_str!("builtin/money.proto")),
    ("google/type/month.proto", include_str!("builtin/month.proto")),
    ("google/type/phone_number.proto", include_str!("builtin/phone_number.proto")),
    ("google/type/postal_address.proto", include_str!("builtin/postal_address.proto")),
    ("google/type/quaternion.proto", include_str!("builtin/quaternion.proto")),
    ("google/type/timeofday.proto", include_str!("builtin/timeofday.proto")),
];

/// The file that everybody knows by this name.
pub(super) fn file(name: &str) -> Option<File> {
    if let Some((_, text)) = TEXTS.iter().find(|(known, _)| *known == name) {
        return Some(parse::parse(text).expect("the texts are ours, and a test reads them"));
    }
    let pool = DescriptorPool::global();
    let known = pool.get_file_by_name(name)?;
    Some(read_descriptor::tree(known.file_descriptor_proto(), &pool))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Strictness;
    use crate::protobuf::ProtobufSchema;

    #[test]
    fn what_everybody_may_import_is_there() {
        let google = ["any", "api", "descriptor", "duration", "empty", "field_mask", "struct", "timestamp"];
        let google = google.into_iter().chain(["source_context", "type", "wrappers"]);
        let google = google.map(|name| format!("google/protobuf/{name}.proto"));
        // Both names of Confluent's decimal have one message.
        let ours = TEXTS.iter().map(|(name, _)| (*name).to_owned()).filter(|name| !name.contains("/types/"));
        let all: String = google.chain(ours).map(|name| format!("import \"{name}\";\n")).collect();
        let text = format!(
            "syntax = \"proto3\";\n{all}\nmessage M {{ google.type.Money price = 1; confluent.type.Decimal d = 2; }}"
        );
        ProtobufSchema::parse(&text, &[], Strictness::Fresh).expect("everything is known");
    }
}
