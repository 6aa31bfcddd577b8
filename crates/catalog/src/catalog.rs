//! The checked catalog: events with all their fields, and the columns that these become.

use std::sync::LazyLock;

use indexmap::IndexMap;

use crate::expression::Sort;
use crate::field_type::{FieldType, Scalar};
use crate::language::{CatalogFile, EngineKind, EventSource, Fact, Field, Nullable, Version};

/// What joins the names of an object's members to a column's name.
pub(crate) const FLATTEN: &str = "__";

/// A catalog in which every name stands for something and every part fits the others.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// What the files say.
    pub file: CatalogFile,
    /// The events by name, in the file's order, with all their fields.
    pub events: IndexMap<String, Event>,
}

/// An event with the fields of the envelope and its contexts put in.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What the file says of it.
    pub source: EventSource,
    /// The topic that it is produced to.
    pub topic: String,
    /// Its table.
    pub table: String,
    /// Its fields: the envelope's, the contexts', its own.
    pub fields: Vec<EventField>,
    /// Whether it names a context that there is not: what it lacks follows from that.
    pub(crate) incomplete: bool,
    /// The classes of personal data of which texts are kept, whatever the fields are.
    pub(crate) pseudonymised: Vec<String>,
}

/// A field of an event, as it stands in a record.
#[derive(Debug, Clone)]
pub struct EventField {
    /// The name, with its context's prefix.
    pub name: String,
    /// What the file says of it.
    pub field: Field,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an event's field comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Every event has it.
    Envelope,
    /// It is of this context.
    Context(String),
    /// It is the event's own.
    Event,
}

/// A column of an event's table.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// What the file says of its field.
    pub field: &'a Field,
    /// The type of what it keeps, never optional: that is `nullable`.
    pub ty: &'a FieldType,
    /// The type of what comes: another one where pseudonyms are kept of it.
    pub clear: &'a FieldType,
    /// The class of personal data that it is of.
    pub pii: Option<&'a str>,
    /// Whether the field may be absent and the column keeps that it is.
    pub nullable: bool,
    /// Whether the field may be absent.
    pub optional: bool,
}

impl Catalog {
    /// The same catalog under names of its own, which begin or end with `mark`: database, topics, connector. It can
    /// be tried where the real one is at work.
    ///
    /// `mark` has lower-case letters and digits.
    #[must_use]
    pub fn apart(&self, mark: &str) -> Self {
        let mut apart = self.clone();
        apart.file.name = self.file.name.marked(mark);
        apart.file.defaults.clickhouse.database = self.file.defaults.clickhouse.database.marked(mark);
        apart.file.policies.dead_letters.topic.value =
            format!("{mark}.{}", self.file.policies.dead_letters.topic.value);
        for event in apart.events.values_mut() {
            event.topic = format!("{mark}.{}", event.topic);
        }
        apart
    }

    /// The topic of dead letters.
    #[must_use]
    pub fn dead_letter_topic(&self) -> String {
        self.file.policies.dead_letters.topic.value.replace("{name}", self.file.name.as_str())
    }

    /// The events of a fact, in the file's order.
    #[must_use]
    pub fn fact_events(&self, fact: &Fact) -> Vec<&Event> {
        let named = fact.event.iter().chain(&fact.events);
        named.filter_map(|event| self.events.get(&event.value)).collect()
    }

    /// Whether the fact has a table of its own, which views fill from its events' tables.
    #[must_use]
    pub fn narrow(&self, fact: &Fact) -> bool {
        fact.event.is_none()
    }

    /// The database of every table.
    #[must_use]
    pub fn database(&self) -> &str {
        self.file.defaults.clickhouse.database.as_str()
    }

    /// Whether absent values are null in columns.
    #[must_use]
    pub fn nulls(&self) -> bool {
        self.file.defaults.nullable == Nullable::Column
    }

    /// The engine of an event's table.
    #[must_use]
    pub fn engine(&self, event: &Event) -> EngineKind {
        let own = event.source.clickhouse.engine.as_ref();
        own.map_or(self.file.defaults.clickhouse.engine, |engine| engine.value)
    }

    /// The sorting key of an event's table.
    #[must_use]
    pub fn order_by<'a>(&'a self, event: &'a Event) -> Vec<&'a str> {
        let own = &event.source.clickhouse.order_by;
        let key = if own.is_empty() { &self.file.defaults.clickhouse.order_by } else { own };
        match key.as_slice() {
            [] => vec!["ts", "event_id"],
            key => key.iter().map(|name| name.value.as_str()).collect(),
        }
    }
}

impl Event {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.source.version.value
    }

    /// The versions of this major version that the fields' `since` tell of, the oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let own = self.version();
        let since = self.fields.iter().filter_map(|field| field.field.since.as_ref());
        let mut versions: Vec<Version> =
            since.map(|since| since.value).filter(|since| since.major == own.major).collect();
        if !versions.is_empty() {
            versions.push(Version { major: own.major, minor: 0, patch: 0 });
        }
        versions.push(own);
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// The fields that a version has.
    pub fn fields_at(&self, version: Version) -> impl Iterator<Item = &EventField> {
        self.fields.iter().filter(move |field| match &field.field.since {
            Some(since) => since.value <= version,
            None => true,
        })
    }

    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&EventField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The columns of its table, with their names; `nulls` says whether absent values are kept as null.
    #[must_use]
    pub fn columns(&self, nulls: bool) -> Vec<(String, Column<'_>)> {
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let around = Around { event: self, optional: false, nulls, pii: None };
            flatten(&field.name, &field.field, around, &mut columns);
        }
        columns
    }

    /// The columns of its table by name, each with the names that lead to its value in records.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            paths(&field.name, &field.name, &field.field, &[], &mut found);
        }
        found
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str, nulls: bool) -> Option<Column<'_>> {
        self.columns(nulls).into_iter().find(|(column, _)| column == name).map(|(_, column)| column)
    }
}

impl EventField {
    /// What records call it.
    #[must_use]
    pub fn in_records(&self) -> &str {
        self.field.in_records(&self.name)
    }
}

/// Adds the columns of a field, each with the names that lead to it in records.
fn paths(column: &str, name: &str, field: &Field, around: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let mut path = around.to_vec();
    path.push(field.in_records(name).to_owned());
    match field.ty.value.required() {
        FieldType::Object => {
            for (member, inner) in field.fields.iter() {
                paths(&format!("{column}{FLATTEN}{member}"), member, inner, &path, found);
            }
        }
        FieldType::Scalar(_)
        | FieldType::Array(_)
        | FieldType::Map(_)
        | FieldType::Json
        | FieldType::Any
        | FieldType::Optional(_) => found.push((column.to_owned(), path)),
    }
}

/// What holds of a field for where it stands.
#[derive(Clone, Copy)]
struct Around<'a> {
    event: &'a Event,
    optional: bool,
    nulls: bool,
    pii: Option<&'a str>,
}

/// What is kept of pseudonymised fields.
static TEXT: FieldType = FieldType::Scalar(Scalar::String);
static TEXTS: LazyLock<FieldType> =
    LazyLock::new(|| FieldType::Array(Box::new(FieldType::Scalar(Scalar::String))));

/// Objects become the columns of their members; everything else is one column.
fn flatten<'a>(name: &str, field: &'a Field, around: Around<'a>, columns: &mut Vec<(String, Column<'a>)>) {
    let optional = around.optional || field.ty.value.optional();
    let pii = field.pii.as_ref().map(|class| class.value.as_str()).or(around.pii);
    let texts = pii.is_some_and(|class| around.event.pseudonymised.iter().any(|known| known == class));
    let clear = field.ty.value.required();
    let column = |ty, nullable| Column { field, ty, clear, pii, nullable, optional };
    match clear {
        FieldType::Object => {
            for (member, inner) in field.fields.iter() {
                let around = Around { optional, pii, ..around };
                flatten(&format!("{name}{FLATTEN}{member}"), inner, around, columns);
            }
        }
        FieldType::Scalar(_) => {
            let ty = if texts && !matches!(clear, FieldType::Scalar(Scalar::String)) { &TEXT } else { clear };
            columns.push((name.to_owned(), column(ty, optional && around.nulls)));
        }
        // ClickHouse has no null of these: an absent one is empty. `Dynamic` has one of its own.
        FieldType::Array(_) => {
            columns.push((name.to_owned(), column(if texts { &TEXTS } else { clear }, false)))
        }
        FieldType::Map(_) | FieldType::Json | FieldType::Any | FieldType::Optional(_) => {
            columns.push((name.to_owned(), column(clear, false)));
        }
    }
}

impl Column<'_> {
    /// What sort of value it has in expressions.
    #[must_use]
    pub fn sort(&self) -> Sort {
        match self.ty {
            FieldType::Scalar(scalar) => match scalar {
                Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Duration => {
                    Sort::Number
                }
                Scalar::Bool => Sort::Bool,
                Scalar::Timestamp(_) => Sort::Time,
                Scalar::Date => Sort::Date,
                Scalar::String
                | Scalar::Enum(_)
                | Scalar::Uuid
                | Scalar::Ip
                | Scalar::Url
                | Scalar::Email
                | Scalar::Geohash { .. } => Sort::Text,
            },
            FieldType::Array(_) | FieldType::Map(_) => Sort::Composite,
            FieldType::Json | FieldType::Any | FieldType::Object | FieldType::Optional(_) => Sort::Any,
        }
    }
}
