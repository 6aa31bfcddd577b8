//! One pass over a record's bytes: checks the grammar, checks the rules, writes the columns.

use tidegate_core::ReasonCode;
use tidegate_native::Column;
use tidegate_schema::{Rules, Types};

use crate::block::Memory;
use crate::check::{check_items, check_number, check_string, check_type};
use crate::compile::Compiled;
use crate::node::{Absent, Node, NodeId, Shape, Writer};
use crate::reader::{RawNumber, Reader};
use crate::refusal::{Outcome, Refusal};
use crate::scalar::Token;

/// A record being read. After an error, columns and memory are in any state; the caller takes the
/// columns back to where they were.
pub(crate) struct Walk<'p, 'm> {
    pub(crate) plan: &'p Compiled,
    pub(crate) reader: Reader<'p>,
    pub(crate) memory: &'m mut Memory,
    pub(crate) depth: usize,
}

impl<'p, 'm> Walk<'p, 'm> {
    pub(crate) fn new(plan: &'p Compiled, reader: Reader<'p>, memory: &'m mut Memory) -> Self {
        memory.begin();
        Self { plan, reader, memory, depth: 0 }
    }

    /// Reads the whole record into `columns`.
    pub(crate) fn record(mut self, columns: &mut [Column]) -> Outcome {
        self.value(self.plan.root, columns)?;
        self.reader.end()?;
        if let Some(place) = self.plan.collect {
            let text = format!("{{{}}}", self.memory.collected.text);
            put_text(&text, &mut columns[place]);
        }
        Ok(())
    }

    /// Reads the whole record and writes nothing: only whether it is a JSON text within the limits.
    pub(crate) fn nothing(mut self) -> Outcome {
        self.skip()?;
        self.reader.end()
    }

    /// Reads one value.
    #[inline]
    pub(crate) fn value(&mut self, id: NodeId, columns: &mut [Column]) -> Outcome {
        let node = &self.plan.nodes[id.0];
        if node.usual.read(&mut self.reader, columns) {
            return Ok(());
        }
        if node.rules.is_none() && matches!(node.shape, Shape::Skip) {
            return self.skip_strictly();
        }
        let result = if node.once {
            let first = self.reader.peek();
            self.value_of(node, first, columns)
        } else {
            self.value_with_care(node, columns)
        };
        match (&node.column, result) {
            (Some(column), Err(refusal)) => Err(refusal.in_column(column)),
            (_, result) => result,
        }
    }

    /// Reads a value that is looked at before it is read, or after.
    #[inline(never)]
    fn value_with_care(&mut self, node: &'p Node, columns: &mut [Column]) -> Outcome {
        if let Some(check) = node.check_first {
            let start = self.reader.at();
            self.value(check, &mut [])?;
            self.reader.rewind(start);
        }
        let first = self.reader.peek();
        if let Some(plan) = &node.choice
            && first == b'{'
        {
            return self.choose(plan, columns);
        }
        let start = self.reader.at();
        if let Shape::Column(place, writer) = &node.shape
            && let Some(result) = self.by_own_type(writer, &mut columns[*place])
        {
            return result;
        }
        self.value_of(node, first, columns)?;
        match &node.rules {
            Some(rules) if !rules.foreign.is_empty() => self.foreign(rules, first, start),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the value that begins with `first`.
    #[inline]
    fn value_of(&mut self, node: &'p Node, first: u8, columns: &mut [Column]) -> Outcome {
        match first {
            b'"' => self.string(node, columns),
            b'0'..=b'9' | b'-' => {
                let number = self.reader.number()?;
                self.number(node, number, columns)
            }
            b'{' => self.object(node, columns),
            b'[' => self.array(node, columns),
            b't' => {
                self.reader.literal("true")?;
                self.boolean(node, true, columns)
            }
            b'f' => {
                self.reader.literal("false")?;
                self.boolean(node, false, columns)
            }
            b'n' => {
                self.reader.literal("null")?;
                self.null(node, columns)
            }
            _ => Err(self.reader.unexpected("a value")),
        }
    }

    /// Runs what only the general validator can decide on the value since `start`.
    fn foreign(&self, rules: &Rules, first: u8, start: usize) -> Outcome {
        let types = match first {
            b'"' => Types::STRING,
            b'{' => Types::OBJECT,
            b'[' => Types::ARRAY,
            b't' => Types::TRUE,
            b'f' => Types::FALSE,
            b'n' => Types::NULL,
            _ => Types::NUMBER,
        };
        let json = self.reader.since(start);
        for (_, foreign) in rules.foreign.iter().filter(|(for_types, _)| for_types.intersects(types)) {
            foreign.check(json.as_bytes()).map_err(|violation| {
                let found = crate::find::find_raw(json.as_bytes(), &violation.path).unwrap_or("nothing");
                Refusal::validate(*violation, found)
            })?;
        }
        Ok(())
    }

    #[inline]
    fn string(&mut self, node: &'p Node, columns: &mut [Column]) -> Outcome {
        let start = self.reader.at();
        let raw = self.reader.string()?;
        match raw.plain() {
            Some(text) => self.text(node, text, start, columns),
            None => {
                let mut scratch = std::mem::take(&mut self.memory.scratch);
                let result = self.text(node, raw.text(&mut scratch), start, columns);
                self.memory.scratch = scratch;
                result
            }
        }
    }

    /// A string that has been read; its JSON text begins at `start`.
    #[inline]
    fn text(&self, node: &Node, text: &str, start: usize, columns: &mut [Column]) -> Outcome {
        check_string(node.rules.as_deref(), text)?;
        match &node.shape {
            Shape::Column(place, Writer::Scalar(scalar)) => {
                scalar.write(Token::String(text), &mut columns[*place])
            }
            _ => put(node, Token::String(text), self.reader.since(start), columns),
        }
    }

    #[inline]
    fn number(&mut self, node: &'p Node, number: RawNumber<'p>, columns: &mut [Column]) -> Outcome {
        if let Some(rules) = &node.rules {
            check_number(rules, &number)?;
        }
        put(node, Token::Number(number), number.text, columns)
    }

    fn boolean(&mut self, node: &'p Node, value: bool, columns: &mut [Column]) -> Outcome {
        let (types, text) = if value { (Types::TRUE, "true") } else { (Types::FALSE, "false") };
        check_type(node.rules.as_deref(), types, text)?;
        put(node, Token::Bool(value), text, columns)
    }

    fn null(&mut self, node: &'p Node, columns: &mut [Column]) -> Outcome {
        check_type(node.rules.as_deref(), Types::NULL, "null")?;
        match &node.shape {
            Shape::Skip => Ok(()),
            // A null object is one without members: its columns take what stands for absent values.
            Shape::Flatten if self.depth > 0 => self.fill_members(node, columns),
            Shape::Flatten => Err(misfit("an object", "null")),
            Shape::Nested(_) => Err(misfit("an array of objects", "null")),
            Shape::Column(place, writer) => put_null(writer, &mut columns[*place]),
        }
    }

    fn object(&mut self, node: &'p Node, columns: &mut [Column]) -> Outcome {
        check_type(node.rules.as_deref(), Types::OBJECT, "an object")?;
        self.enter()?;
        match &node.shape {
            Shape::Skip => self.inner(node)?,
            Shape::Flatten => match &node.object {
                Some(object) => self.members(object, node.rules.as_deref(), columns)?,
                None => self.skip()?,
            },
            Shape::Nested(_) => return Err(misfit("an array of objects", "an object")),
            Shape::Column(place, writer) => self.compound(node, writer, &mut columns[*place])?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, node: &'p Node, columns: &mut [Column]) -> Outcome {
        check_type(node.rules.as_deref(), Types::ARRAY, "an array")?;
        self.enter()?;
        match &node.shape {
            Shape::Skip => self.inner(node)?,
            Shape::Flatten => return Err(misfit("an object", "an array")),
            Shape::Nested(places) => {
                let item = node.item.expect("nodes of Nested columns have an item");
                let count = self.items(|walk, _| walk.value(item, columns))?;
                check_items(node, count)?;
                for place in places {
                    if let Column::Array(array) = &mut columns[*place] {
                        array.end_row();
                    }
                }
            }
            Shape::Column(place, writer) => self.compound(node, writer, &mut columns[*place])?,
        }
        self.depth -= 1;
        Ok(())
    }

    pub(crate) fn enter(&mut self) -> Outcome {
        self.depth = self.plan.limits.deeper(self.depth)?;
        Ok(())
    }

    /// An array or object that goes somewhere as a whole, or nowhere.
    fn inner(&mut self, node: &'p Node) -> Outcome {
        if self.reader.peek() == b'{' {
            return match &node.object {
                Some(object) => self.members(object, node.rules.as_deref(), &mut []),
                None => self.skip_members(true),
            };
        }
        let count = self.items(|walk, _| match node.item {
            Some(item) => walk.value(item, &mut []),
            None => walk.skip_strictly(),
        })?;
        check_items(node, count)
    }

    /// An array or object into a column.
    fn compound(&mut self, node: &'p Node, writer: &'p Writer, column: &mut Column) -> Outcome {
        let start = self.reader.at();
        let object = self.reader.peek() == b'{';
        match (writer, column) {
            (Writer::Nullable { values, .. }, Column::Nullable(nullable)) => {
                self.compound(node, values, &mut nullable.values)?;
                nullable.end_value();
            }
            (Writer::Element(values), Column::Array(array)) => {
                self.compound(node, values, &mut array.elements)?
            }
            (Writer::Json, Column::Json(values)) if object => {
                self.inner(node)?;
                values.push_str(self.reader.since(start));
            }
            (Writer::JsonText, Column::String(values)) => {
                self.inner(node)?;
                values.push_str(self.reader.since(start));
            }
            (Writer::Array, Column::Array(array)) if !object => {
                let item = node.item.expect("nodes of arrays have an item");
                let count =
                    self.items(|walk, _| walk.value(item, std::slice::from_mut(&mut array.elements)))?;
                check_items(node, count)?;
                array.end_row();
            }
            (Writer::Map { .. }, Column::Map(map)) if object => self.map(node, writer, map)?,
            (Writer::Tuple { positions }, Column::Tuple(tuple)) => {
                match (&node.object, object) {
                    (Some(plan), true) => self.members(plan, node.rules.as_deref(), &mut tuple.columns)?,
                    (_, false) => self.positions(positions, &mut tuple.columns)?,
                    (None, true) => return Err(misfit("an array", "an object")),
                }
                tuple.end_row();
            }
            (writer, _) => return Err(mismatch(writer, if object { "an object" } else { "an array" })),
        }
        Ok(())
    }

    fn positions(&mut self, positions: &'p [NodeId], columns: &mut [Column]) -> Outcome {
        let expected = || format!("an array of {} items", positions.len());
        let count = self.items(|walk, index| match positions.get(index as usize) {
            Some(position) => walk.value(*position, columns),
            None => Err(misfit(&expected(), "more")),
        })?;
        if count == positions.len() as u64 {
            Ok(())
        } else {
            Err(misfit(&expected(), &format!("{count} items")))
        }
    }

    /// An array's items, one after the other; gives how many there are.
    pub(crate) fn items(&mut self, mut each: impl FnMut(&mut Self, u64) -> Outcome) -> Outcome<u64> {
        self.reader.take(b'[');
        if self.reader.take(b']') {
            return Ok(0);
        }
        let mut index = 0;
        loop {
            self.reader.peek();
            each(self, index).map_err(|refusal| refusal.within_item(index))?;
            index += 1;
            if !self.reader.another(b']')? {
                return Ok(index);
            }
        }
    }

    /// Writes what stands for a value that is not there.
    pub(crate) fn fill(&mut self, id: NodeId, columns: &mut [Column]) -> Outcome {
        let node = &self.plan.nodes[id.0];
        match (&node.shape, &node.absent) {
            (Shape::Flatten, _) => self.fill_members(node, columns),
            (Shape::Skip, _) | (_, Absent::Ignore) => Ok(()),
            (Shape::Column(place, writer), Absent::Null) => {
                let column = match (writer, &mut columns[*place]) {
                    (Writer::Element(_), Column::Array(array)) => &mut array.elements,
                    (_, column) => column,
                };
                if column.push_null() { Ok(()) } else { Err(missing(node)) }
            }
            (Shape::Column(..) | Shape::Nested(_), Absent::Literal(text)) => {
                if let Shape::Column(place, _) = &node.shape {
                    self.memory.filled.push(*place);
                }
                let reader = std::mem::replace(&mut self.reader, Reader::new(text));
                let filled = self.value(node.filled_by.unwrap_or(id), columns);
                self.reader = reader;
                filled
            }
            (Shape::Column(..) | Shape::Nested(_), Absent::Refuse) | (Shape::Nested(_), Absent::Null) => {
                Err(missing(node))
            }
        }
    }

    fn fill_members(&mut self, node: &'p Node, columns: &mut [Column]) -> Outcome {
        let fields = node.object.as_deref().map_or(&[][..], |object| &object.fields);
        for field in fields.iter().filter(|field| field.wanted) {
            self.fill(field.node, columns).map_err(|refusal| refusal.within(&field.name))?;
        }
        Ok(())
    }
}

#[cold]
fn missing(node: &Node) -> Box<Refusal> {
    let rule = "a value, for the column has neither a default nor NULL";
    let refusal = Refusal::encode(ReasonCode::MissingRequired, "column", rule, "nothing");
    match &node.column {
        Some(column) => refusal.in_column(column),
        None => refusal,
    }
}

#[cold]
pub(crate) fn misfit(expected: &str, found: &str) -> Box<Refusal> {
    Refusal::encode(ReasonCode::WrongType, "type", expected, found)
}

#[cold]
fn mismatch(writer: &Writer, found: &str) -> Box<Refusal> {
    match writer {
        Writer::Scalar(scalar) | Writer::LowCardinality(scalar) => scalar.wrong_type(found),
        Writer::Nullable { values, .. } | Writer::Element(values) => mismatch(values, found),
        Writer::Array => misfit("an array", found),
        Writer::Map { .. } => misfit("an object, for a `Map`", found),
        Writer::Tuple { .. } => misfit("an object or array, for a `Tuple`", found),
        Writer::Json => misfit("an object, for a `JSON`", found),
        Writer::JsonText | Writer::Variant(_) | Writer::Dynamic => misfit("another value", found),
    }
}

/// Writes a value without parts; `json` is its text.
#[inline]
fn put(node: &Node, token: Token<'_>, json: &str, columns: &mut [Column]) -> Outcome {
    match &node.shape {
        Shape::Skip => Ok(()),
        Shape::Column(place, writer) => put_token(writer, token, json, &mut columns[*place]),
        Shape::Flatten => Err(misfit("an object", json)),
        Shape::Nested(_) => Err(misfit("an array of objects", json)),
    }
}

pub(crate) fn put_token(writer: &Writer, token: Token<'_>, json: &str, column: &mut Column) -> Outcome {
    match (writer, column) {
        (Writer::Scalar(scalar), column) => scalar.write(token, column),
        (Writer::LowCardinality(scalar), Column::LowCardinality(values)) => match token {
            Token::String(text) if scalar.text() && values.push_str(text) => Ok(()),
            token => {
                scalar.write(token, values.value_mut())?;
                values.end_value();
                Ok(())
            }
        },
        (Writer::Nullable { values, .. }, Column::Nullable(nullable)) => {
            put_token(values, token, json, &mut nullable.values)?;
            nullable.end_value();
            Ok(())
        }
        (Writer::Nullable { values, .. }, column) => put_token(values, token, json, column),
        (Writer::Element(values), Column::Array(array)) => {
            put_token(values, token, json, &mut array.elements)
        }
        (Writer::JsonText, Column::String(values)) => {
            values.push_str(json);
            Ok(())
        }
        (writer, _) => Err(mismatch(writer, json)),
    }
}

fn put_null(writer: &Writer, column: &mut Column) -> Outcome {
    let pushed = match (writer, column) {
        (Writer::Element(values), Column::Array(array)) => return put_null(values, &mut array.elements),
        (Writer::Nullable { accepts: true, .. }, column) => column.push_null(),
        (Writer::JsonText, Column::String(values)) => {
            values.push_str("null");
            true
        }
        _ => false,
    };
    if pushed { Ok(()) } else { Err(mismatch(writer, "null")) }
}

/// Writes a text into the column that collects.
pub(crate) fn put_text(text: &str, column: &mut Column) {
    match column {
        Column::Json(values) => values.push_str(text),
        Column::String(values) => values.push_str(text),
        Column::Nullable(nullable) => {
            put_text(text, &mut nullable.values);
            nullable.end_value();
        }
        other => other.push_default(),
    }
}
