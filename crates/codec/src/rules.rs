//! Rules of columns: what values keep to that a schema's language cannot say.
//!
//! They are checked when the whole record has turned out to be a row, on the values that were decoded for the column
//! and before anything is done to personal ones. So every format keeps to them alike, and a broken one is told as that
//! of a JSON Schema is. Start with [`ColumnRules`].

mod keep;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::Reject;
use tidegate_native::{Column, Table, Type};
use tidegate_schema::{Decimal, JsonSchema, Rules, SchemaError};

use crate::block::Block;
use crate::compile::{inserted, json_escaped, nested, path_of};
use crate::options::PlanOptions;
use crate::plan::{PlanError, PlannedColumns};
use crate::refusal::Refusal;
use keep::Keep;

/// What a column's values keep to: single ones, and each value of a list or map. `NULL` keeps every rule, and so does
/// what is put in for a field that a record lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnRules {
    /// The least number, as JSON writes numbers.
    pub min: Option<String>,
    /// The greatest number, as JSON writes numbers.
    pub max: Option<String>,
    /// The most characters of a text.
    pub max_length: Option<u64>,
    /// The regular expression that a text satisfies, as JSON Schema's `pattern`.
    pub pattern: Option<String>,
    /// The format that a text has, one of those of JSON Schema 2020-12.
    pub format: Option<String>,
    /// The texts that there are; any, if there are none.
    pub one_of: Vec<String>,
    /// The rules of the elements of a Tuple, by name.
    pub members: BTreeMap<String, ColumnRules>,
}

impl ColumnRules {
    const fn about_numbers(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    const fn about_texts(&self) -> bool {
        self.max_length.is_some()
            || self.pattern.is_some()
            || self.format.is_some()
            || !self.one_of.is_empty()
    }

    /// The rules on a single value: the ones that a JSON Schema of the same words has, so that both refuse the same.
    fn compiled(&self) -> Result<Rules, SchemaError> {
        let text = |text: &String| format!("\"{}\"", json_escaped(text));
        let listed: Vec<String> = self.one_of.iter().map(text).collect();
        let keywords = [
            ("minimum", self.min.clone()),
            ("maximum", self.max.clone()),
            ("maxLength", self.max_length.map(|most| most.to_string())),
            ("pattern", self.pattern.as_ref().map(text)),
            ("format", self.format.as_ref().map(text)),
            ("enum", (!listed.is_empty()).then(|| format!("[{}]", listed.join(",")))),
        ];
        let said =
            keywords.into_iter().filter_map(|(keyword, value)| Some(format!("\"{keyword}\":{}", value?)));
        let schema = JsonSchema::parse(&format!("{{{}}}", said.collect::<Vec<_>>().join(",")))?;
        Ok(schema.rules(schema.root()).clone())
    }
}

/// The rules of a plan's columns. Cheap to clone; empty where no column has any.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    columns: Arc<[KeptColumn]>,
    reasons_max: usize,
}

/// A column that has rules.
#[derive(Debug)]
struct KeptColumn {
    place: usize,
    name: String,
    /// The field, as names from the record's root.
    path: Vec<String>,
    /// Whether the column's name said which field it is: a schema may have one of the whole name.
    by_name: bool,
    /// Whether the field's last name is that of a member of each object of an array.
    nested: bool,
    keep: Keep,
}

/// The columns that take fields of a record's value: the other ones have no rules.
pub(crate) struct Fields<'a> {
    /// The columns of the plan.
    pub(crate) columns: &'a PlannedColumns,
    /// Places of those that take something else.
    pub(crate) others: Vec<usize>,
}

impl Kept {
    pub(crate) fn compile(
        table: &Table,
        options: &PlanOptions,
        fields: &Fields<'_>,
    ) -> Result<Self, PlanError> {
        let mut columns = Vec::new();
        for column in table.columns.iter().filter(|column| inserted(column, options)) {
            let Some(own) = options.columns.get(&column.name) else { continue };
            let Some(rules) = &own.rules else { continue };
            let planned = fields.columns.iter().position(|(name, _)| *name == column.name);
            let Some(place) = planned.filter(|place| !fields.others.contains(place)) else {
                return Err(PlanError::WrongColumn {
                    column: column.name.clone(),
                    ty: column.ty.to_string(),
                    what: "rules, for it takes no field".to_owned(),
                });
            };
            let Some(keep) = Keep::compile(rules, &fields.columns[place].1, &column.name)? else { continue };
            let path = path_of(column, &|_| false, own, options);
            columns.push(KeptColumn {
                place,
                name: column.name.clone(),
                by_name: own.path.is_none(),
                nested: nested(column, &path),
                path,
                keep,
            });
        }
        Ok(Self { columns: columns.into(), reasons_max: options.limits.reasons_max.max(1) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Checks the row that has just been decoded. `known` says whether the schema of its record has a field of a
    /// column's whole name.
    ///
    /// # Errors
    /// The rules that it breaks, one of each column.
    pub(crate) fn check(&self, block: &Block, known: &dyn Fn(&str) -> bool) -> Result<(), Box<Reject>> {
        let mut broken = self.columns.iter().filter_map(|column| {
            let filled = !block.memory.filled.is_empty() && block.memory.filled.contains(&column.place);
            if filled { None } else { column.broken(&block.columns[column.place], block.rows, known) }
        });
        let Some(first) = broken.next() else { return Ok(()) };
        let mut reject = first.alone();
        reject.reasons.extend(broken.take(self.reasons_max - 1).map(|refusal| refusal.reason));
        Err(reject)
    }
}

impl KeptColumn {
    #[inline]
    fn broken(&self, column: &Column, row: usize, known: &dyn Fn(&str) -> bool) -> Option<Box<Refusal>> {
        let refusal = match (self.path.last(), column) {
            (Some(member), Column::Array(list)) if self.nested => {
                let mut items = list.range(row).unwrap_or_default().zip(0..);
                items.find_map(|(item, at)| {
                    let broken = self.keep.check(&list.elements, item).err();
                    broken.map(|refusal| refusal.within(member).within_item(at))
                })
            }
            _ => self.keep.check(column, row).err(),
        };
        refusal.map(|refusal| self.placed(refusal, known))
    }

    #[cold]
    fn placed(&self, refusal: Box<Refusal>, known: &dyn Fn(&str) -> bool) -> Box<Refusal> {
        let around = &self.path[..self.path.len() - usize::from(self.nested)];
        let placed = if self.by_name && known(&self.name) {
            refusal.within(&self.name)
        } else {
            around.iter().rev().fold(refusal, |refusal, name| refusal.within(name))
        };
        placed.in_column(&self.name)
    }
}

/// Whether a bound is a number as JSON writes them, or there is none.
fn number(text: Option<&String>) -> bool {
    text.is_none_or(|text| Decimal::parse(text).is_some())
}

/// What cannot have rules.
fn unfit(column: &str, ty: &Type, what: impl Into<String>) -> PlanError {
    PlanError::WrongColumn { column: column.to_owned(), ty: ty.to_string(), what: what.into() }
}
