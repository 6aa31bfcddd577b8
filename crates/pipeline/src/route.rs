//! Which event a record is, and which table it belongs to.

use std::borrow::Cow;

use tidegate_config::{Part, Resolved, TableRoute};
use tidegate_core::{Reason, ReasonCode, Record, Reject, Stage, TopicPartition};

/// Whether the table depends on what a record contains, and not on its topic alone. What a record
/// contains must never stop a partition, so a table that such a name leads to may be unknown (a
/// reject), while a table that the configuration names must exist (a fault).
pub(crate) fn from_content(route: &TableRoute) -> bool {
    route.template.parts().iter().any(|part| match part {
        Part::Header(_) | Part::Field(_) => true,
        Part::Literal(_) | Part::Topic => false,
    })
}

/// Whether the configuration itself names a table for `event`.
pub(crate) fn names(route: &TableRoute, event: &str) -> bool {
    !from_content(route) || route.map.contains_key(event)
}

/// Finds a record's event and table.
///
/// # Errors
/// A reject of stage `resolve` when a header or field that the template needs is absent, null or not
/// text, when the name is empty or too long, or when the map is complete and does not have the event.
pub(crate) fn resolve(
    route: &TableRoute,
    source: &TopicPartition,
    record: &Record<'_>,
) -> Result<Resolved, Box<Reject>> {
    let mut missing = None;
    let resolved = route.resolve(|part| {
        let value = value(part, source, record);
        if value.is_none() {
            missing = Some(describe(part));
        }
        value
    });
    resolved.ok_or_else(|| {
        let (expected, found) = missing.unwrap_or_else(|| {
            (
                "an event with a table".to_owned(),
                format!("a name that `{}` leads to no table with", route.template),
            )
        });
        Box::new(Reject::new(Stage::Resolve, Reason::new(ReasonCode::UnknownEvent, expected, &found)))
    })
}

fn value<'a>(part: &Part, source: &'a TopicPartition, record: &Record<'a>) -> Option<Cow<'a, str>> {
    match part {
        Part::Literal(_) => None,
        Part::Topic => Some(Cow::Borrowed(&*source.topic)),
        Part::Header(name) => std::str::from_utf8(record.header(name)??).ok().map(Cow::Borrowed),
        Part::Field(path) => tidegate_codec::find_text(record.value?, path.segments()),
    }
}

fn describe(part: &Part) -> (String, String) {
    match part {
        Part::Header(name) => {
            (format!("a header `{name}` that names the event"), "no such header".to_owned())
        }
        Part::Field(path) => (format!("a field `{path}` that names the event"), "no such field".to_owned()),
        Part::Literal(_) | Part::Topic => ("a name".to_owned(), "none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_config::{Template, Unmapped};
    use tidegate_core::{Header, Records};

    use super::*;

    #[track_caller]
    fn check(template: &str, headers: &[Header<'_>], value: &[u8], expected: Result<(&str, &str), &str>) {
        let template = Template::parse(template).unwrap();
        let route = TableRoute { template, map: BTreeMap::new(), unmapped: Unmapped::Template };
        let mut records = Records::new(TopicPartition::new("git.hub", 0));
        records.push(0, None, None, Some(value), headers.iter().copied());
        let found = resolve(&route, records.source(), &records.get(0).unwrap());
        match (&found, expected) {
            (Ok(resolved), Ok((event, table))) => {
                assert_eq!((resolved.event.as_str(), resolved.table.as_str()), (event, table));
            }
            (Err(reject), Err(found)) => assert_eq!(reject.reason().found, found),
            _ => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_table_is_named_by_text_topic_header_or_field() {
        let header = [Header { name: "x-event", value: Some(b"Check Run") }];
        check("events", &[], b"{}", Ok(("", "events")));
        check("raw_{topic}", &[], b"{}", Ok(("git.hub", "raw_git_hub")));
        check("gh_{header:x-event}", &header, b"{}", Ok(("Check Run", "gh_check_run")));
        check("{field:meta.type}", &[], br#"{"a":[1],"meta":{"type":"fork"}}"#, Ok(("fork", "fork")));
    }

    #[test]
    fn a_record_that_does_not_name_its_event_is_a_reject() {
        check("gh_{header:x-event}", &[], b"{}", Err("no such header"));
        check("gh_{header:x}", &[Header { name: "x", value: None }], b"{}", Err("no such header"));
        check("gh_{header:x}", &[Header { name: "x", value: Some(b"\xff") }], b"{}", Err("no such header"));
        check("{field:type}", &[], br#"{"test":"connection_test"}"#, Err("no such field"));
        check("{field:type}", &[], br#"{"type":{}}"#, Err("no such field"));
    }
}
