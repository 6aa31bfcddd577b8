//! The data dictionary: one HTML file that needs nothing else, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{File, drawing};
use crate::catalog::{Catalog, Event, EventField, Origin};
use crate::check;
use crate::language::{Field, Metric, PiiAction};
use crate::lineage;

const STYLE: &str = include_str!("dictionary.css");
const SCRIPT: &str = include_str!("dictionary.js");

/// Metrics by event and field.
type Uses = BTreeMap<(String, String), BTreeSet<String>>;

pub(super) fn file(catalog: &Catalog) -> File {
    let mut uses = Uses::new();
    for metric in catalog.file.metrics.keys() {
        for field in lineage::fields(catalog, metric) {
            uses.entry(field).or_default().insert(metric.to_owned());
        }
    }
    let name = escaped(catalog.file.name.as_str());
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}: data dictionary</title>\n<style>\n{STYLE}</style>\n"
    );
    head(catalog, &mut html);
    html.push_str("<main>\n<section id=\"model\"><h2>The model</h2>\n");
    html.push_str(&drawing::svg(catalog));
    html.push_str("</section>\n");
    events(catalog, &uses, &mut html);
    metrics(catalog, &mut html);
    facts(catalog, &mut html);
    dimensions(catalog, &mut html);
    rollups(catalog, &mut html);
    entities(catalog, &mut html);
    enums(catalog, &mut html);
    personal(catalog, &mut html);
    glossary(catalog, &mut html);
    // Writing into a `String` does not fail.
    let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</html>\n");
    File::new("data-dictionary.html", html)
}

/// A text as HTML shows it.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            char => html.push(char),
        }
    }
    html
}

fn head(catalog: &Catalog, html: &mut String) {
    let file = &catalog.file;
    let doc = file.doc.as_deref().unwrap_or("What we know about what happens in the product.");
    let _ = write!(
        html,
        "<header><h1>{}</h1><p>{}</p>\n\
         <p class=\"numbers\"><b>{}</b> events <b>{}</b> metrics <b>{}</b> facts <b>{}</b> rollups <b>{}</b> entities</p>\n\
         <input id=\"search\" type=\"search\" placeholder=\"Search events, fields, metrics, owners  ( / )\" autofocus>\n\
         <p id=\"found\"></p>\n<nav>",
        escaped(file.name.as_str()),
        escaped(doc),
        catalog.events.len(),
        file.metrics.len(),
        file.facts.len(),
        file.rollups.len(),
        file.entities.len(),
    );
    for part in [
        "model",
        "events",
        "metrics",
        "facts",
        "dimensions",
        "rollups",
        "entities",
        "enums",
        "personal",
        "glossary",
    ] {
        let _ = write!(html, "<a href=\"#{part}\">{part}</a>");
    }
    html.push_str("</nav></header>\n");
}

/// Opens a card; `words` is what the search looks at besides what is seen.
fn card(html: &mut String, id: &str, name: &str, tags: &[String]) {
    let _ = write!(html, "<article id=\"{}\"><h3>{}", escaped(id), escaped(name));
    for tag in tags.iter().filter(|tag| !tag.is_empty()) {
        let _ = write!(html, " <span class=\"tag\">{}</span>", escaped(tag));
    }
    html.push_str("</h3>\n");
}

fn said(html: &mut String, doc: Option<&str>, deprecated: Option<&str>) {
    if let Some(reason) = deprecated {
        let _ = writeln!(html, "<p class=\"deprecated\">Deprecated: {}</p>", escaped(reason));
    }
    if let Some(doc) = doc {
        let _ = writeln!(html, "<p>{}</p>", escaped(doc));
    }
}

fn links<'a>(html: &mut String, title: &str, kind: &str, names: impl Iterator<Item = &'a str>) {
    let links: Vec<String> =
        names.map(|name| format!("<a class=\"chip\" href=\"#{kind}-{0}\">{0}</a>", escaped(name))).collect();
    if !links.is_empty() {
        let _ = writeln!(html, "<p class=\"links\"><b>{title}</b> {}</p>", links.join(" "));
    }
}

fn events(catalog: &Catalog, uses: &Uses, html: &mut String) {
    html.push_str("<section id=\"events\"><h2>Events</h2>\n");
    for event in catalog.events.values() {
        let owner = event.source.owner.as_deref().or(catalog.file.owner.as_deref()).unwrap_or_default();
        let tags = [event.version().to_string(), owner.to_owned()];
        card(html, &format!("event-{}", event.name), &event.name, &tags);
        said(html, Some(&event.source.doc), event.source.deprecated.as_deref());
        let _ = writeln!(
            html,
            "<p class=\"where\">topic <code>{}</code>, table <code>{}.{}</code></p>",
            escaped(&event.topic),
            escaped(catalog.database()),
            escaped(&event.table)
        );
        html.push_str("<table><tr><th>field<th>type<th>what it says<th>in metrics</tr>\n");
        let own = |field: &&EventField| field.origin != Origin::Envelope;
        for field in event.fields.iter().filter(own) {
            row(html, uses, event, (&field.name, &field.field));
        }
        html.push_str("</table>\n<details><summary>envelope</summary><table>\n");
        for field in event.fields.iter().filter(|field| field.origin == Origin::Envelope) {
            row(html, uses, event, (&field.name, &field.field));
        }
        html.push_str("</table></details></article>\n");
    }
    html.push_str("</section>\n");
}

fn row(html: &mut String, uses: &Uses, event: &Event, (name, field): (&str, &Field)) {
    let mut notes: Vec<String> = field.doc.iter().map(|doc| escaped(doc)).collect();
    let mut note = |text: Option<String>, class: &str| {
        notes.extend(text.map(|text| format!("<span class=\"{class}\">{}</span>", escaped(&text))));
    };
    note(field.pii.as_ref().map(|class| format!("personal: {}", class.value)), "pii");
    note(field.unit.clone(), "unit");
    note(field.default.as_ref().map(|default| format!("default {}", default.value.to_json())), "unit");
    note(field.since.as_ref().map(|since| format!("since {}", since.value)), "unit");
    note(field.renamed_from.as_ref().map(|old| format!("was {}", old.value)), "unit");
    note(field.deprecated.clone(), "deprecated");
    let entity = field.references.as_ref().map_or_else(String::new, |entity| {
        format!(" <a href=\"#entity-{0}\">{0}</a>", escaped(&entity.value))
    });
    let used = uses.get(&(event.name.clone(), name.to_owned()));
    let used: Vec<String> = used
        .into_iter()
        .flatten()
        .map(|metric| format!("<a class=\"chip\" href=\"#metric-{0}\">{0}</a>", escaped(metric)))
        .collect();
    let used = match used.len() {
        0..=6 => used.join(" "),
        n => format!("<details><summary>{n} metrics</summary>{}</details>", used.join(" ")),
    };
    let _ = writeln!(
        html,
        "<tr><td><code>{}</code><td><code>{}</code>{entity}<td>{}<td>{used}</tr>",
        escaped(name),
        escaped(&field.ty.value.to_string()),
        notes.join(" "),
    );
}

fn metrics(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"metrics\"><h2>Metrics</h2>\n");
    let mut made_into: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, metric) in catalog.file.metrics.iter() {
        for part in check::parts(metric) {
            made_into.entry(part).or_default().push(name);
        }
    }
    for (name, metric) in catalog.file.metrics.iter() {
        let owner = metric.owner().or(catalog.file.owner.as_deref()).unwrap_or_default();
        let unit = metric.unit().unwrap_or_default();
        let tags = [metric.kind().to_string(), unit.to_owned(), owner.to_owned()];
        card(html, &format!("metric-{name}"), name, &tags);
        said(html, metric.doc(), metric.0.deprecated.as_deref());
        if !metric.alias().is_empty() {
            let _ =
                writeln!(html, "<p class=\"where\">also called {}</p>", escaped(&metric.alias().join(", ")));
        }
        let _ = writeln!(html, "<p class=\"where\">{}</p>", definition(metric));
        let parts = check::parts(metric);
        links(html, "made of", "metric", parts.into_iter());
        links(html, "part of", "metric", made_into.get(name).into_iter().flatten().copied());
        let facts = metric.0.fact.iter().map(|fact| fact.value.as_str());
        links(html, "rows of", "fact", facts);
        let rollups = catalog.file.rollups.iter();
        let keeps = rollups.filter(|(_, rollup)| rollup.metrics.iter().any(|kept| kept.value == name));
        links(html, "kept in", "rollup", keeps.map(|(rollup, _)| rollup));
        fields_of(catalog, name, html);
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

fn fields_of(catalog: &Catalog, metric: &str, html: &mut String) {
    let fields = lineage::fields(catalog, metric);
    let links: Vec<String> = fields
        .iter()
        .map(|(event, field)| {
            format!("<a class=\"chip\" href=\"#event-{0}\">{0}.{1}</a>", escaped(event), escaped(field))
        })
        .collect();
    if !links.is_empty() {
        let _ = writeln!(
            html,
            "<details><summary>from {} fields</summary>{}</details>",
            links.len(),
            links.join(" ")
        );
    }
}

/// What the metric computes, in the catalog's words.
fn definition(metric: &Metric) -> String {
    let keys = &metric.0;
    let mut words = vec![format!("<code>{}</code>", metric.kind())];
    let mut say = |key: &str, text: Option<String>| {
        words.extend(text.map(|text| format!("{key} <code>{}</code>", escaped(&text))));
    };
    say("of", keys.expr.as_ref().map(|expr| expr.value.text().to_owned()));
    say("where", keys.where_.as_ref().map(|filter| filter.value.text().to_owned()));
    say("of event", keys.event.as_ref().map(|event| event.value.clone()));
    say("at", keys.q.as_ref().map(|q| q.value.to_string()));
    say("over", keys.window.as_ref().map(|window| window.value.to_string()));
    say("from the beginning of the", keys.reset.map(|reset| reset.to_string()));
    let steps: Vec<&str> = keys.steps.iter().map(|step| step.value.as_str()).collect();
    say("steps", (!steps.is_empty()).then(|| steps.join(" → ")));
    say("cohort", keys.cohort.as_ref().map(|cohort| cohort.value.clone()));
    say("returns", keys.returns.as_ref().map(|returns| returns.value.clone()));
    say("by", keys.by.as_ref().map(|by| by.value.clone()));
    say("within", keys.within.as_ref().map(|within| within.value.to_string()));
    words.join(" ")
}

fn facts(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"facts\"><h2>Facts</h2>\n");
    for (name, fact) in catalog.file.facts.iter() {
        let tag = if catalog.narrow(fact) { "table of its own" } else { "an event's rows" };
        card(html, &format!("fact-{name}"), name, &[tag.to_owned()]);
        said(html, fact.doc.as_deref(), None);
        if let Some(filter) = &fact.where_ {
            let _ =
                writeln!(html, "<p class=\"where\">where <code>{}</code></p>", escaped(filter.value.text()));
        }
        links(
            html,
            "events",
            "event",
            catalog.fact_events(fact).into_iter().map(|event| event.name.as_str()),
        );
        let of = |metric: &Metric| metric.0.fact.as_ref().is_some_and(|fact| fact.value == name);
        let metrics = catalog.file.metrics.iter().filter(|(_, metric)| of(metric));
        links(html, "metrics", "metric", metrics.map(|(metric, _)| metric));
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

fn dimensions(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"dimensions\"><h2>Dimensions</h2>\n");
    for (name, dimension) in catalog.file.dimensions.iter() {
        card(html, &format!("dimension-{name}"), name, &[]);
        said(html, dimension.doc.as_deref(), None);
        let value = match (&dimension.field, &dimension.expr, &dimension.entity, &dimension.attribute) {
            (Some(field), ..) => field.value.clone(),
            (None, Some(expr), ..) => expr.value.text().to_owned(),
            (None, None, Some(entity), Some(attribute)) => format!("{}.{}", entity.value, attribute.value),
            (None, None, _, _) => String::new(),
        };
        let _ = writeln!(html, "<p class=\"where\"><code>{}</code></p></article>", escaped(&value));
    }
    html.push_str("</section>\n");
}

fn rollups(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"rollups\"><h2>Rollups</h2>\n");
    for (name, rollup) in catalog.file.rollups.iter() {
        card(html, &format!("rollup-{name}"), name, &[rollup.grain.to_string()]);
        said(html, rollup.doc.as_deref(), None);
        links(html, "rows of", "fact", std::iter::once(rollup.fact.value.as_str()));
        links(html, "split by", "dimension", rollup.dims.iter().map(|dim| dim.value.as_str()));
        links(html, "keeps", "metric", rollup.metrics.iter().map(|metric| metric.value.as_str()));
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

fn entities(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"entities\"><h2>Entities</h2>\n");
    for (name, entity) in catalog.file.entities.iter() {
        card(html, &format!("entity-{name}"), name, &[entity.history.to_string()]);
        said(html, entity.doc.as_deref(), None);
        let fields: Vec<&str> = entity.fields.iter().map(|field| field.value.as_str()).collect();
        let _ = writeln!(
            html,
            "<p class=\"where\">by <code>{}</code>: {}</p>",
            escaped(&entity.key.value),
            escaped(&fields.join(", "))
        );
        links(html, "told by", "event", std::iter::once(entity.source.value.as_str()));
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

fn enums(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"enums\"><h2>Enums</h2>\n");
    for (name, source) in catalog.file.enums.iter() {
        let open = if source.open { "open: other words are kept" } else { "closed" };
        card(html, &format!("enum-{name}"), name, &[open.to_owned()]);
        said(html, source.doc.as_deref(), None);
        let words: Vec<String> =
            source.values.iter().map(|word| format!("<code>{}</code>", escaped(&word.value))).collect();
        let _ = writeln!(html, "<p>{}</p></article>", words.join(" "));
    }
    html.push_str("</section>\n");
}

/// Classes of personal data: what should become of them, and whether it does.
fn personal(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"personal\"><h2>Personal data</h2>\n");
    let untreated = catalog.untreated();
    for (name, class) in catalog.file.policies.pii.iter() {
        card(html, &format!("class-{name}"), name, &[class.action.to_string()]);
        said(html, class.doc.as_deref(), None);
        let fields = untreated.iter().find(|untreated| untreated.class == name);
        let done = match (class.action, class.upstream, fields) {
            (PiiAction::Keep, ..) => "Stored as it comes, as it should be.".to_owned(),
            (_, true, _) => "Producers do it before they send it.".to_owned(),
            (_, false, None) => match catalog.fields_of_class(name).len() {
                0 => "No field is of it.".to_owned(),
                n_fields => {
                    format!(
                        "{n_fields} fields are {} before they are stored. Topics have them as they come.",
                        class.done()
                    )
                }
            },
            (_, false, Some(untreated)) => {
                let n_fields = untreated.fields.len();
                format!("Nobody does it: {n_fields} fields are stored as they come.")
            }
        };
        let _ = writeln!(html, "<p>{}</p></article>", escaped(&done));
    }
    html.push_str("</section>\n");
}

fn glossary(catalog: &Catalog, html: &mut String) {
    html.push_str("<section id=\"glossary\"><h2>Glossary</h2>\n");
    for (word, meaning) in &catalog.file.glossary {
        card(html, &format!("word-{word}"), word, &[]);
        let _ = writeln!(html, "<p>{}</p></article>", escaped(meaning));
    }
    html.push_str("</section>\n");
}
