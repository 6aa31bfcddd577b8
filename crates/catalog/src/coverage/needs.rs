//! What a wanted metric needs of the catalog: which rows, which fields, and which of these there are not.

use std::collections::HashMap;

use tidegate_yaml::nearest::nearest;

use super::formula::{Formula, Term, expression, read, renamed};
use super::known::Known;
pub(super) use super::proposal::Shape;
use super::proposal::{Part, Rows};
use super::words::words;
use super::{Missing, Wanted};
use crate::language::Kind;

/// Why a metric cannot be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Gap {
    /// What the catalog does not have.
    pub(super) missing: Vec<Missing>,
    /// What a person has to say.
    pub(super) unclear: Option<String>,
}

impl Gap {
    pub(super) fn unclear(reason: impl Into<String>) -> Self {
        Self { missing: Vec::new(), unclear: Some(reason.into()) }
    }

    fn lacks(missing: Vec<Missing>) -> Self {
        Self { missing, unclear: None }
    }

    /// A field that is not there is called what the sheet calls it, not what is like it elsewhere.
    fn told_as_written(mut self, written: &HashMap<String, String>) -> Self {
        for missing in &mut self.missing {
            if let Missing::Field { field, .. } = missing
                && let Some(name) = written.get(field)
            {
                field.clone_from(name);
            }
        }
        self
    }

    fn add(&mut self, other: Self) {
        for missing in other.missing {
            if !self.missing.contains(&missing) {
                self.missing.push(missing);
            }
        }
        self.unclear = self.unclear.take().or(other.unclear);
    }
}

/// What the row wants, made of what the catalog has: by its formula, otherwise by its words.
pub(super) fn needs(known: &Known<'_>, row: &Wanted) -> Result<Shape, Gap> {
    let hints = events_in(known, &format!("{} {}", row.name, row.description));
    let mut first: Option<Gap> = None;
    if let Some(formula) = formula(row) {
        match by_formula(known, formula, &hints) {
            Ok(shape) => return Ok(shape),
            Err(gap) if !gap.missing.is_empty() => return Err(gap),
            Err(gap) => first = Some(gap),
        }
    }
    let texts = [&row.formula, &row.description, &row.name];
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        match by_words(known, text) {
            Ok(shape) => return Ok(shape),
            Err(gap) if !gap.missing.is_empty() => return Err(gap),
            Err(gap) => first = first.or(Some(gap)),
        }
    }
    Err(first.unwrap_or_else(|| Gap::unclear("neither formula nor description")))
}

/// The row's formula. Words without aggregates are no expression.
fn formula(row: &Wanted) -> Option<Formula> {
    read(&row.formula).filter(|formula| {
        !formula.terms.is_empty() || (!formula.whole.is_empty() && expression(&formula.whole).is_ok())
    })
}

/// What the row's formula says otherwise than the metric of its name, if that can be told.
pub(super) fn otherwise(known: &Known<'_>, row: &Wanted, metric: &str) -> Option<String> {
    let hints = events_in(known, &format!("{} {}", row.name, row.description));
    match by_formula(known, formula(row)?, &hints) {
        Ok(shape) => {
            let there = known.definition(metric)?;
            let differs = shape.definition(known).is_some_and(|wanted| wanted != there);
            differs.then(|| format!("`{metric}` does not compute `{}`", row.formula))
        }
        Err(gap) => {
            let missing = gap.missing.first()?;
            Some(format!("its formula needs `{missing}`, which is not there"))
        }
    }
}

fn by_formula(known: &Known<'_>, mut formula: Formula, hints: &[&str]) -> Result<Shape, Gap> {
    // Events that stand beside the aggregates are counted, metrics taken as they are.
    let mut terms = std::mem::take(&mut formula.terms);
    let mut strange: Vec<String> = Vec::new();
    let whole = renamed(&formula.whole, &mut |name| {
        if let Some((metric, _)) = known.metric_called(name) {
            return metric.to_owned();
        }
        if let Some(metric) = known.metric_worded(name) {
            return metric.to_owned();
        }
        if let Some(event) = known.event(name) {
            terms.push(Term { kind: Kind::Count, q: None, argument: event.to_owned(), filter: None });
            return format!("__{}", terms.len() - 1);
        }
        if !name.starts_with("__") {
            strange.push(name.to_owned());
        }
        name.to_owned()
    });
    let expression = expression(&whole).map_err(Gap::unclear)?;
    let mut gap = Gap::default();
    if let Some(name) = strange.first() {
        gap.add(Gap::unclear(stranger(known, name)));
    }
    let first: Vec<Result<Part, Gap>> = terms.iter().map(|term| part(known, term, &[])).collect();
    let mut named: Vec<String> = first.iter().flatten().filter_map(Part::event).map(str::to_owned).collect();
    named.sort();
    named.dedup();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let mut parts = Vec::with_capacity(first.len());
    for (term, found) in terms.iter().zip(first) {
        // What the other aggregates are of, then what name and description speak of.
        let found = [named.as_slice(), hints].into_iter().fold(found, |found, hints| match found {
            Err(_) if hints.len() == 1 => part(known, term, hints),
            found => found,
        });
        match found {
            Ok(part) => parts.push(part),
            Err(other) => gap.add(other),
        }
    }
    if gap.missing.is_empty() && gap.unclear.is_none() {
        Shape::of(expression, parts).ok_or_else(|| Gap::unclear("nothing of the catalog is named in it"))
    } else {
        Err(gap)
    }
}

/// What is to be said of a name that stands where metrics stand.
fn stranger(known: &Known<'_>, name: &str) -> String {
    if known.fields.contains_key(&known.field(name)) {
        return format!("`{name}` is a field: say how its values are put together, as in `sum({name})`");
    }
    let metrics = known.catalog.file.metrics.keys();
    match nearest(name, metrics.chain(known.catalog.events.keys().map(String::as_str))) {
        Some(near) => format!("nothing is called `{name}`; did you mean `{near}`?"),
        None => format!("nothing is called `{name}`"),
    }
}

/// One aggregate with its rows. `hints` are events that it may be of if it does not say.
fn part(known: &Known<'_>, term: &Term, hints: &[&str]) -> Result<Part, Gap> {
    let mut of: Vec<String> = Vec::new();
    let mut missing: Vec<Missing> = Vec::new();
    let mut argument = term.argument.clone();
    if term.kind == Kind::Count && !argument.is_empty() {
        if let Some(rows) = rows_called(known, &argument) {
            of.push(rows);
            argument.clear();
        }
    } else if term.kind == Kind::Sum
        && term.filter.is_none()
        && !known.fields.contains_key(&argument)
        && let Some(metric) = known.metric_worded(&argument)
    {
        return Ok(Part::Metric(metric.to_owned()));
    }
    let mut written: HashMap<String, String> = HashMap::new();
    let mut column = |path: &str| match path.split_once('.') {
        None => {
            let field = known.field(path);
            written.insert(field.clone(), path.to_owned());
            field
        }
        Some((event, field)) => {
            let joined = path.replace('.', "_");
            match rows_called(known, event) {
                Some(rows) => {
                    if !of.contains(&rows) {
                        of.push(rows);
                    }
                    let path = field.replace('.', "__");
                    let field = known.field(&path);
                    written.insert(field.clone(), path);
                    field
                }
                None if known.fields.contains_key(&joined) => joined,
                None => {
                    missing.push(Missing::Event { event: event.to_owned() });
                    field.to_owned()
                }
            }
        }
    };
    let argument = renamed(&argument, &mut column);
    let filter = term.filter.as_deref().map(|filter| renamed(filter, &mut column));
    if !missing.is_empty() {
        return Err(Gap::lacks(missing));
    }
    let mut names = Vec::new();
    for text in filter.iter().chain((!argument.is_empty()).then_some(&argument)) {
        let expression = expression(text).map_err(Gap::unclear)?;
        names.extend(expression.names().into_iter().map(|(name, _)| name.to_owned()));
    }
    let rows = match of.as_slice() {
        [rows] => own_rows(known, rows, &names).map_err(|gap| gap.told_as_written(&written))?,
        [] => found_rows(known, term, &names, hints).map_err(|gap| gap.told_as_written(&written))?,
        [one, other, ..] => {
            return Err(Gap::unclear(format!(
                "`{one}` and `{other}` in one aggregate: a row is of one event"
            )));
        }
    };
    Ok(Part::aggregate((term.kind, term.q), rows, (argument, filter), known))
}

/// The event or fact of that name.
fn rows_called(known: &Known<'_>, name: &str) -> Option<String> {
    known.event(name).or_else(|| known.fact(name)).map(str::to_owned)
}

/// The rows that are named, if they have the fields.
fn own_rows(known: &Known<'_>, rows: &str, names: &[String]) -> Result<Rows, Gap> {
    let Some(event) = known.event(rows) else { return Ok(Rows::Fact(rows.to_owned())) };
    let lacking = names.iter().filter(|name| !known.has(event, name));
    let missing: Vec<Missing> =
        lacking.map(|field| Missing::Field { event: event.to_owned(), field: field.clone() }).collect();
    if missing.is_empty() { Ok(Rows::Event(event.to_owned())) } else { Err(Gap::lacks(missing)) }
}

/// The rows that have the fields, if these are one event's.
fn found_rows(known: &Known<'_>, term: &Term, names: &[String], hints: &[&str]) -> Result<Rows, Gap> {
    let (there, strange): (Vec<&String>, Vec<&String>) =
        names.iter().partition(|name| known.fields.contains_key(*name));
    let events: Vec<&str> = match there.first() {
        Some(first) => known.fields[*first]
            .iter()
            .copied()
            .filter(|event| there.iter().all(|name| known.has(event, name)))
            .collect(),
        None => Vec::new(),
    };
    match (events.as_slice(), strange.first()) {
        ([event], _) => own_rows(known, event, names),
        (_, _) if hints.len() == 1 => own_rows(known, hints[0], names),
        ([], None) if names.is_empty() => Err(Gap::unclear("which event's rows are counted?")),
        (_, Some(name)) if term.kind == Kind::Count && names.len() == 1 && term.argument == **name => {
            Err(Gap::lacks(vec![Missing::Event { event: (*name).clone() }]))
        }
        (_, Some(name)) => {
            let near = nearest(name, known.fields.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(Gap::unclear(format!("no event has a field `{name}`{near}")))
        }
        ([], None) => Err(Gap::unclear("no event has all of its fields")),
        ([first, ..], None) => {
            let name = there.first().map_or("", |name| name.as_str());
            let n_events = events.len();
            let fact = known.narrow_fact(names);
            let all = fact.map(|fact| format!(" or, for all of them, `{fact}.{name}`")).unwrap_or_default();
            Err(Gap::unclear(format!(
                "`{name}` is of {n_events} events: say which, as in `{first}.{name}`{all}"
            )))
        }
    }
}

/// The events that a text names, each once, in their order.
fn events_in<'a>(known: &Known<'a>, text: &str) -> Vec<&'a str> {
    const LONGEST: usize = 5;
    let words = words(text.get(..text.floor_char_boundary(4_096)).unwrap_or_default());
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = (1..=LONGEST.min(words.len() - at)).rev();
        let event =
            longest.filter_map(|len| Some((known.event(&words[at..at + len].join(" "))?, len))).next();
        let (event, len) = event.map_or((None, 1), |(event, len)| (Some(event), len));
        if let Some(event) = event.filter(|event| !found.contains(event)) {
            found.push(event);
        }
        at += len;
    }
    found
}

/// Words that say how rows are put together, nearest to what is meant first.
const SAYING: [(&str, Kind, Option<f64>); 19] = [
    ("unique", Kind::CountDistinct, None),
    ("distinct", Kind::CountDistinct, None),
    ("different", Kind::CountDistinct, None),
    ("median", Kind::Quantile, Some(0.5)),
    ("p50", Kind::Quantile, Some(0.5)),
    ("p90", Kind::Quantile, Some(0.9)),
    ("p95", Kind::Quantile, Some(0.95)),
    ("p99", Kind::Quantile, Some(0.99)),
    ("average", Kind::Avg, None),
    ("mean", Kind::Avg, None),
    ("avg", Kind::Avg, None),
    ("longest", Kind::Max, None),
    ("highest", Kind::Max, None),
    ("maximum", Kind::Max, None),
    ("minimum", Kind::Min, None),
    ("sum", Kind::Sum, None),
    ("number", Kind::Count, None),
    ("count", Kind::Count, None),
    ("many", Kind::Count, None),
];

/// Words around a metric's name that do not change what it is.
const AROUND: [&str; 6] = ["number", "count", "total", "how", "many", "all"];

fn by_words(known: &Known<'_>, text: &str) -> Result<Shape, Gap> {
    let lower = text.to_lowercase();
    let sides = [" per ", " divided by ", "/"].iter().find_map(|sign| lower.split_once(sign));
    if let Some((above, below)) = sides
        && let (Some(above), Some(below)) = (side(known, above), side(known, below))
    {
        return Ok(Shape::Ratio(above, below));
    }
    if let Some(Part::Metric(metric)) = side(known, &lower) {
        return Ok(Shape::Single(Part::Metric(metric)));
    }
    let said = words(&lower);
    let how = SAYING.iter().find(|(word, ..)| said.iter().any(|said| said == word));
    let strange: Vec<&str> = identifiers(known, text);
    match (events_in(known, text).as_slice(), how) {
        ([event], _) if !strange.is_empty() => {
            let missing = strange
                .iter()
                .map(|field| Missing::Field { event: (*event).to_owned(), field: (*field).to_owned() });
            Err(Gap::lacks(missing.collect()))
        }
        ([event], Some((_, kind, q))) => told(known, event, (*kind, *q), &said),
        ([event], None) => Err(Gap::unclear(format!("names the event `{event}`, but not how it is counted"))),
        ([], Some((_, Kind::Count, _))) if strange.len() == 1 => {
            Err(Gap::lacks(vec![Missing::Event { event: strange[0].to_owned() }]))
        }
        ([], _) => Err(Gap::unclear("no event of the catalog is named in it")),
        (events, _) => Err(Gap::unclear(format!("names several events: {}", events.join(", ")))),
    }
}

/// Words with `_` in them that nothing of the catalog is called: names of what there should be.
fn identifiers<'t>(known: &Known<'_>, text: &'t str) -> Vec<&'t str> {
    let split = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let mut found: Vec<&str> = Vec::new();
    for word in split.filter(|word| word.trim_matches('_').contains('_')) {
        let there = known.event(word).is_some()
            || known.metric_worded(word).is_some()
            || known.fact(word).is_some()
            || known.fields.contains_key(&known.field(word));
        if !there && !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

/// A metric, or rows that are counted, that the words are the name of.
fn side(known: &Known<'_>, text: &str) -> Option<Part> {
    let mut words = words(text);
    if let Some(metric) = known.metric_worded(text) {
        return Some(Part::Metric(metric.to_owned()));
    }
    words.retain(|word| !AROUND.contains(&word.as_str()));
    let text = words.join(" ");
    if let Some(metric) = known.metric_worded(&text) {
        return Some(Part::Metric(metric.to_owned()));
    }
    let event = known.event(&text)?.to_owned();
    Some(Part::aggregate((Kind::Count, None), Rows::Event(event), (String::new(), None), known))
}

/// One event, and how it is counted: of which field, if it is of one.
fn told(
    known: &Known<'_>,
    event: &str,
    (kind, q): (Kind, Option<f64>),
    said: &[String],
) -> Result<Shape, Gap> {
    let mut argument = String::new();
    if kind != Kind::Count {
        let of_event = words(event);
        let rest: Vec<&String> = said.iter().filter(|word| !of_event.contains(word)).collect();
        let phrases = (1..=4).rev().flat_map(|len| rest.windows(len));
        let mut fields = phrases.filter_map(|phrase| {
            let phrase: Vec<&str> = phrase.iter().map(|word| word.as_str()).collect();
            known.field_worded(event, &phrase.join(" "))
        });
        argument = fields
            .next()
            .ok_or_else(|| Gap::unclear(format!("names the event `{event}`, but none of its fields")))?;
    }
    let rows = Rows::Event(event.to_owned());
    Ok(Shape::Single(Part::aggregate((kind, q), rows, (argument, None), known)))
}
