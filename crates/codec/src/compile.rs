//! Compiles a plan: which column takes which field, and what happens to the rest.

use tidegate_native::{Column, ColumnDefault, Table, TableColumn, Type};
use tidegate_schema::{JsonSchema, RulesId};

use crate::build::{Builder, Leaf, Tree};
use crate::instant::TimePattern;
use crate::json::has_member;
use crate::meta::MetaColumn;
use crate::node::{Absent, Node, NodeId};
use crate::options::{ColumnOptions, Limits, Metadata, PlanOptions, UnknownFields};
use crate::personal::{self, Personal, Quotable};
use crate::plan::{PlanError, PlannedColumns};
use crate::scalar::{Scalar, TimeReading};
use crate::usual::Usual;

/// A plan's insides.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    pub(crate) columns: PlannedColumns,
    pub(crate) metadata: Vec<MetaColumn>,
    pub(crate) personal: Personal,
    /// The column that collects unknown fields.
    pub(crate) collect: Option<usize>,
    pub(crate) limits: Limits,
    pub(crate) predictions: usize,
}

/// Compiles; see [`Plan::compile`](crate::Plan::compile).
pub(crate) fn compile(
    table: &Table,
    schema: Option<&JsonSchema>,
    options: &PlanOptions,
) -> Result<Compiled, PlanError> {
    let known = |name: &str| schema.is_some_and(|schema| has_member(schema, name));
    let always = |path: &[String]| required(schema, path);
    let planned = plan_columns(table, options, &Given { known: &known, always: &always })?;
    let mut builder = Builder::new(schema, options);
    let root = builder.root(&planned.tree);
    for node in &mut builder.nodes {
        node.once = node.reads_once();
        node.usual = Usual::of(node);
    }
    Ok(Compiled {
        nodes: builder.nodes,
        root,
        columns: planned.columns,
        metadata: planned.metadata,
        personal: planned.personal,
        collect: planned.collect,
        limits: clamped(options.limits),
        predictions: builder.predictions,
    })
}

/// What the schema of a format says of fields, as far as a table's columns depend on it.
pub(crate) struct Given<'a> {
    /// Whether the outermost object has a field of this name.
    pub(crate) known: &'a dyn Fn(&str) -> bool,
    /// Whether every record has the field at this path, or is refused for want of it.
    pub(crate) always: &'a dyn Fn(&[String]) -> bool,
}

/// A table's columns, and which field each of them takes.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) columns: PlannedColumns,
    pub(crate) metadata: Vec<MetaColumn>,
    pub(crate) personal: Personal,
    pub(crate) collect: Option<usize>,
    pub(crate) tree: Tree,
}

/// Limits that the stack has room for.
pub(crate) fn clamped(limits: Limits) -> Limits {
    Limits { depth_max: limits.depth_max.clamp(1, Limits::DEPTH_MAX), ..limits }
}

/// Finds the field of each column. The columns' types depend on the table and the options alone.
pub(crate) fn plan_columns(
    table: &Table,
    options: &PlanOptions,
    given: &Given<'_>,
) -> Result<Planned, PlanError> {
    check_names(table, options)?;
    let mut columns = PlannedColumns::new();
    let mut metadata = Vec::new();
    let mut collect = None;
    let mut tree = Tree::default();
    let mut quotable = Quotable::default();
    for column in table.columns.iter().filter(|column| inserted(column, options)) {
        let place = columns.len();
        let own = options.columns.get(&column.name).cloned().unwrap_or_default();
        let column = &personal::clear(column, own.personal.as_ref());
        let built = Column::for_type(&column.ty);
        built.map_err(|source| PlanError::Column { column: column.name.clone(), source })?;
        if let Some(meta) = meta_column(column, place, &own, options)? {
            metadata.push(meta);
            columns.push((column.name.clone(), column.ty.clone()));
            continue;
        }
        if matches!(&options.unknown_fields, UnknownFields::Collect { column: name } if *name == column.name)
        {
            check_collects(column)?;
            collect = Some(place);
            columns.push((column.name.clone(), column.ty.clone()));
            continue;
        }
        let path = path_of(column, given.known, &own, options);
        let (ty, absent) = planned(column, given.always, &path)?;
        columns.push((column.name.clone(), ty.clone()));
        let leaf = Leaf {
            place,
            column: column.name.clone(),
            ty,
            accepts_null: column.ty.accepts_null(),
            absent,
            reading: reading(column, &own)?,
            json_text: own.json_text,
            nested: nested(column, &path),
        };
        tree.insert(&path, leaf)?;
        quotable.add(path, own.personal.is_some());
    }
    if columns.is_empty() {
        return Err(PlanError::NoColumns { table: format!("{}.{}", table.database, table.name) });
    }
    let personal = Personal::compile(table, options, &columns, quotable)?;
    Ok(Planned { columns, metadata, personal, collect, tree })
}

fn check_names(table: &Table, options: &PlanOptions) -> Result<(), PlanError> {
    let collect = match &options.unknown_fields {
        UnknownFields::Collect { column } => Some(column),
        UnknownFields::Reject | UnknownFields::Drop => None,
    };
    for name in options.columns.keys().chain(collect) {
        if !table.columns.iter().any(|column| column.name == *name && insertable(column)) {
            return Err(PlanError::UnknownColumn {
                table: format!("{}.{}", table.database, table.name),
                column: name.clone(),
            });
        }
    }
    Ok(())
}

const fn insertable(column: &TableColumn) -> bool {
    match column.default {
        ColumnDefault::None | ColumnDefault::Default { .. } | ColumnDefault::Ephemeral => true,
        ColumnDefault::Materialized | ColumnDefault::Alias => false,
    }
}

/// Ephemeral columns are given only where the configuration speaks of them.
pub(crate) fn inserted(column: &TableColumn, options: &PlanOptions) -> bool {
    let own = options.columns.get(&column.name);
    insertable(column)
        && !own.is_some_and(|own| own.omit)
        && (column.default != ColumnDefault::Ephemeral || own.is_some())
}

fn meta_column(
    column: &TableColumn,
    place: usize,
    own: &ColumnOptions,
    options: &PlanOptions,
) -> Result<Option<MetaColumn>, PlanError> {
    if let Some(metadata) = own.metadata {
        let ticks = metadata.fits(&column.ty).ok_or_else(|| wrong_column(column, metadata.described()))?;
        return Ok(Some(MetaColumn { column: place, metadata, ticks }));
    }
    let by_name = Metadata::by_name(&column.name).filter(|_| options.metadata_by_name && own.path.is_none());
    Ok(by_name.and_then(|metadata| {
        let ticks = metadata.fits(&column.ty)?;
        Some(MetaColumn { column: place, metadata, ticks })
    }))
}

fn wrong_column(column: &TableColumn, what: &str) -> PlanError {
    PlanError::WrongColumn { column: column.name.clone(), ty: column.ty.to_string(), what: what.to_owned() }
}

fn check_collects(column: &TableColumn) -> Result<(), PlanError> {
    let inner = match &column.ty {
        Type::Nullable(inner) => inner.as_ref(),
        ty => ty,
    };
    match inner {
        Type::Json(_) | Type::String => Ok(()),
        _ => Err(wrong_column(column, "the fields without a column; expected JSON or String")),
    }
}

fn reading(column: &TableColumn, own: &ColumnOptions) -> Result<TimeReading, PlanError> {
    let patterns = own.formats.iter().map(|pattern| TimePattern::parse(pattern)).collect::<Result<_, _>>();
    let patterns = patterns.map_err(|source| PlanError::Pattern { column: column.name.clone(), source })?;
    Ok(TimeReading { patterns, epoch: own.epoch })
}

/// The field that a column takes.
pub(crate) fn path_of(
    column: &TableColumn,
    known: &dyn Fn(&str) -> bool,
    own: &ColumnOptions,
    options: &PlanOptions,
) -> Vec<String> {
    let whole = vec![column.name.clone()];
    if let Some(path) = &own.path {
        return if path.is_empty() { whole } else { path.clone() };
    }
    if known(&column.name) {
        return whole;
    }
    let mut path = whole;
    for separator in [options.flatten_separator.as_str(), "."] {
        let split = |name: &String| -> Vec<String> {
            if separator.is_empty() {
                return vec![name.clone()];
            }
            let parts: Vec<String> = name.split(separator).map(str::to_owned).collect();
            // A name such as `__typename` is a name, not a path.
            if parts.iter().any(String::is_empty) { vec![name.clone()] } else { parts }
        };
        path = path.iter().flat_map(split).collect();
    }
    path
}

/// Whether the column is a part of a Nested: `n.a Array(T)`.
pub(crate) fn nested(column: &TableColumn, path: &[String]) -> bool {
    path.len() > 1 && column.name.contains('.') && matches!(column.ty, Type::Array(_))
}

/// The type that a column has in blocks, and what stands for an absent value.
fn planned(
    column: &TableColumn,
    always: &dyn Fn(&[String]) -> bool,
    path: &[String],
) -> Result<(Type, Absent), PlanError> {
    let ty = column.ty.clone();
    let ColumnDefault::Default { expression } = &column.default else {
        let absent = if ty.accepts_null() { Absent::Null } else { Absent::Refuse };
        return Ok((ty, absent));
    };
    if !ty.accepts_null() {
        // NULL asks the server for its default, row by row (`input_format_null_as_default`).
        match &ty {
            Type::LowCardinality(inner) => {
                let nullable = Type::LowCardinality(Box::new(inner.as_ref().clone().nullable()));
                return Ok((nullable, Absent::Null));
            }
            scalar if Scalar::new(scalar, &TimeReading::default()).is_some() => {
                return Ok((ty.nullable(), Absent::Null));
            }
            _ => {}
        }
    } else if expression.eq_ignore_ascii_case("NULL") {
        return Ok((ty, Absent::Null));
    }
    if let Some(literal) = literal(expression, &ty) {
        return Ok((ty, Absent::Literal(literal)));
    }
    if always(path) {
        return Ok((ty, Absent::Refuse));
    }
    Err(PlanError::DefaultByRow { column: column.name.clone(), ty: ty.to_string() })
}

fn required(schema: Option<&JsonSchema>, path: &[String]) -> bool {
    let Some(schema) = schema else { return false };
    let mut rules: Option<RulesId> = Some(schema.root());
    path.iter().all(|name| {
        let property = rules
            .and_then(|id| schema.rules(id).objects.as_ref())
            .and_then(|objects| objects.properties.iter().find(|property| property.name == *name));
        rules = property.and_then(|property| property.rules);
        property.is_some_and(|property| property.required)
    })
}

/// The JSON text of a default that is a constant, for types whose defaults cannot be asked for by row.
fn literal(expression: &str, ty: &Type) -> Option<String> {
    let expression = expression.trim();
    let text = expression
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .filter(|text| !text.contains(['\'', '\\']));
    match ty {
        Type::Array(_) | Type::Nested(_) => ["[]", "array()"].contains(&expression).then(|| "[]".to_owned()),
        Type::Map(..) => ["map()", "{}"].contains(&expression).then(|| "{}".to_owned()),
        Type::Json(_) => text.filter(|text| text.trim() == "{}").map(str::to_owned),
        Type::Nullable(inner) => match inner.as_ref() {
            Type::String => text.map(json_string),
            Type::Bool => ["true", "false"].contains(&expression).then(|| expression.to_owned()),
            inner => {
                let numeric =
                    Scalar::new(inner, &TimeReading::default()).is_some_and(|scalar| scalar.numeric());
                let number = crate::reader::Reader::new(expression).number().ok();
                number.filter(|number| numeric && number.text == expression).map(|_| expression.to_owned())
            }
        },
        _ => None,
    }
}

fn json_string(text: &str) -> String {
    format!("\"{}\"", json_escaped(text))
}

/// A text as it stands between the quotes of a JSON string.
pub(crate) fn json_escaped(text: &str) -> String {
    let mut json = String::new();
    json_escape_into(text, &mut json);
    json
}

/// Appends a text as it stands between the quotes of a JSON string.
pub(crate) fn json_escape_into(text: &str, json: &mut String) {
    if !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        return json.push_str(text);
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
}
