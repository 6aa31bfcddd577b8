//! Client quotas: described and altered (KIP-546). Users and client ids have byte rates; other entities and
//! other quotas are refused.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntryData as Alteration, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, alter_client_quotas_response as altered,
};

use crate::node::Node;
use crate::rates::{Direction, Entity, NotChanged, Rates, Whose};
use crate::wire::text;

const USER: &str = "user";
const CLIENT: &str = "client-id";
const QUOTAS: [(&str, Direction); 2] =
    [("producer_byte_rate", Direction::Produce), ("consumer_byte_rate", Direction::Fetch)];

/// What a client is told of a mistake of its own.
type Refusal = (ResponseError, String);

fn invalid(message: impl Into<String>) -> Refusal {
    (ResponseError::InvalidRequest, message.into())
}

pub(super) fn describe(
    node: &Node,
    request: DescribeClientQuotasRequest,
    _version: i16,
) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default();
    match Filter::of(&request.components, request.strict) {
        Ok(filter) => {
            let all = node.rates.all().into_iter();
            let entries = all.filter(|(entity, _)| filter.admits(entity));
            response.with_entries(Some(entries.map(|(entity, rates)| entry(&entity, rates)).collect()))
        }
        Err((error, message)) => {
            response.with_error_code(error.code()).with_error_message(Some(text(message))).with_entries(None)
        }
    }
}

fn entry(entity: &Entity, rates: Rates) -> EntryData {
    let half = |kind: &str, whose: &Option<Whose>| {
        whose.as_ref().map(|whose| {
            let name = match whose {
                Whose::Default => None,
                Whose::Named(name) => Some(text(name.clone())),
            };
            EntityData::default().with_entity_type(text(kind)).with_entity_name(name)
        })
    };
    let halves = [half(USER, &entity.user), half(CLIENT, &entity.client)];
    let values = QUOTAS.iter().filter_map(|(key, direction)| {
        let rate = rates.of(*direction)?;
        Some(ValueData::default().with_key(text(*key)).with_value(rate as f64))
    });
    EntryData::default().with_entity(halves.into_iter().flatten().collect()).with_values(values.collect())
}

/// What one half of an entity must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Exactly(Whose),
    Any,
}

/// Which entities are asked for.
#[derive(Debug, Default)]
struct Filter {
    user: Option<Wanted>,
    client: Option<Wanted>,
    /// Entities have no half that is not asked for.
    strict: bool,
}

impl Filter {
    fn of(components: &[ComponentData], strict: bool) -> Result<Self, Refusal> {
        let mut filter = Self { strict, ..Self::default() };
        for component in components {
            let wanted = match (component.match_type, &component._match) {
                (0, Some(name)) => Wanted::Exactly(Whose::Named(name.to_string())),
                (1, None) => Wanted::Exactly(Whose::Default),
                (2, None) => Wanted::Any,
                _ => return Err(invalid("a filter whose match does not fit its type")),
            };
            let half = match component.entity_type.as_str() {
                USER => &mut filter.user,
                CLIENT => &mut filter.client,
                other => return Err(unknown_entity(other)),
            };
            if half.replace(wanted).is_some() {
                return Err(invalid("a filter that names an entity type twice"));
            }
        }
        Ok(filter)
    }

    fn admits(&self, entity: &Entity) -> bool {
        let admits = |wanted: &Option<Wanted>, whose: &Option<Whose>| match (wanted, whose) {
            (None, None) => true,
            (None, Some(_)) => !self.strict,
            (Some(_), None) => false,
            (Some(Wanted::Any), Some(_)) => true,
            (Some(Wanted::Exactly(wanted)), Some(whose)) => wanted == whose,
        };
        admits(&self.user, &entity.user) && admits(&self.client, &entity.client)
    }
}

fn unknown_entity(kind: &str) -> Refusal {
    let shown: String = kind.chars().take(40).collect();
    invalid(format!("entity type `{shown}` has no quotas here; expected `{USER}` or `{CLIENT}`"))
}

pub(super) fn alter(
    node: &Node,
    request: AlterClientQuotasRequest,
    _version: i16,
) -> AlterClientQuotasResponse {
    let entries = request.entries.into_iter().map(|entry| {
        let changed = alter_one(node, &entry, request.validate_only);
        let entity = entry.entity.into_iter().map(|half| {
            altered::EntityData::default()
                .with_entity_type(half.entity_type)
                .with_entity_name(half.entity_name)
        });
        let response = altered::EntryData::default().with_entity(entity.collect());
        match changed {
            Ok(()) => response,
            Err((error, message)) => {
                response.with_error_code(error.code()).with_error_message(Some(text(message)))
            }
        }
    });
    AlterClientQuotasResponse::default().with_entries(entries.collect())
}

fn alter_one(node: &Node, entry: &Alteration, validate_only: bool) -> Result<(), Refusal> {
    let entity = entity(entry)?;
    let changes = entry.ops.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    if validate_only {
        return Ok(());
    }
    let apply = |rates: &mut Rates| {
        for (direction, rate) in &changes {
            rates.set(*direction, *rate);
        }
    };
    node.rates.change(entity, apply).map_err(|not_changed| match not_changed {
        NotChanged::TooMany => (ResponseError::PolicyViolation, "there are too many quotas".to_owned()),
        NotChanged::Io(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "quotas were not changed");
            (ResponseError::KafkaStorageError, "the quotas could not be stored".to_owned())
        }
    })
}

fn entity(entry: &Alteration) -> Result<Entity, Refusal> {
    let mut entity = Entity { user: None, client: None };
    for half in &entry.entity {
        let whose = match &half.entity_name {
            Some(name) if name.is_empty() => return Err(invalid("an entity without a name")),
            Some(name) => Whose::Named(name.to_string()),
            None => Whose::Default,
        };
        let place = match half.entity_type.as_str() {
            USER => &mut entity.user,
            CLIENT => &mut entity.client,
            other => return Err(unknown_entity(other)),
        };
        if place.replace(whose).is_some() {
            return Err(invalid("an entity that names a type twice"));
        }
    }
    match entity {
        Entity { user: None, client: None } => Err(invalid("an entity of nobody")),
        entity => Ok(entity),
    }
}

fn change(op: &OpData) -> Result<(Direction, Option<u64>), Refusal> {
    let known = QUOTAS.iter().find(|(key, _)| *key == op.key.as_str());
    let Some((key, direction)) = known else {
        let shown: String = op.key.chars().take(40).collect();
        return Err(invalid(format!(
            "quota `{shown}` is not offered here; expected `{}` or `{}`",
            QUOTAS[0].0, QUOTAS[1].0
        )));
    };
    if op.remove {
        return Ok((*direction, None));
    }
    // Up to here a number of this type is exact.
    let whole = (1.0..=9e15).contains(&op.value) && op.value.fract() == 0.0;
    match whole {
        true => Ok((*direction, Some(op.value as u64))),
        false => Err(invalid(format!("`{key}` is a whole number of bytes a second, 1 at least"))),
    }
}
