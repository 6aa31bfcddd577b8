//! Parameters of Confluent's that are not carried out here. They are refused: a client that was answered
//! as if it had not sent them would take the answer for another.

use tidegate_languages::Language;

use crate::command::SchemaRequest;
use crate::http::request::Call;
use crate::problem::Problem;
use crate::state::Text;

impl Call {
    /// Refuses the parameters that nothing here follows.
    pub(super) fn check_parameters(&self) -> Result<(), Problem> {
        let given = |name: &str| self.query(name).filter(|value| !value.is_empty());
        if let Some(format) = given("format").filter(|format| format.eq_ignore_ascii_case("logical")) {
            return Err(unsupported(&format!(
                "format `{format}` is not known here; expected `resolved` (Avro), `serialized` or \
                 `ignore_extensions` (Protobuf), or none"
            )));
        }
        if let Some(format) =
            given("referenceFormat").filter(|format| !format.eq_ignore_ascii_case("default"))
        {
            return Err(unsupported(&format!(
                "referenceFormat `{format}` is not known here; leave it out to get references as they are \
                 stored"
            )));
        }
        let filters = ["resourceType", "associationType", "lifecycle"];
        let filter = filters.into_iter().find(|filter| given(filter).is_some());
        if let Some(filter) = filter.filter(|_| self.path == ["schemas"]) {
            let message = format!("schemas cannot be listed by `{filter}`: there are no associations here");
            return Err(unsupported(&message));
        }
        Ok(())
    }

    /// The tags that are asked for, `*` meaning all; none if none are.
    pub(super) fn tags(&self, schema: &Text) -> Result<&[String], Problem> {
        let tags = self.queries("findTags");
        if !tags.is_empty() && schema.language != Language::Avro {
            return Err(unsupported(&format!(
                "findTags reads `confluent:tags` in Avro alone, and the schema's language is {}",
                schema.language
            )));
        }
        Ok(tags)
    }
}

/// Refuses to carry over tags of the version before.
pub(super) fn check_propagation(request: &SchemaRequest, latest: Option<&Text>) -> Result<(), Problem> {
    let tagged =
        latest.is_some_and(|latest| latest.text.contains("confluent") && latest.text.contains("tags"));
    if request.propagate_schema_tags == Some(true) && tagged {
        return Err(unsupported(
            "`propagateSchemaTags` is not carried out here; register the text with the `confluent:tags` of \
             the version before",
        ));
    }
    Ok(())
}

fn unsupported(message: &str) -> Problem {
    Problem::new(422, message)
}
