//! The crate `schema_registry_converter` against the registry in `$REGISTRY`. Each result is one line of JSON.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use apache_avro::types::Value as Avro;
use schema_registry_converter::async_impl::easy_avro::{EasyAvroDecoder, EasyAvroEncoder};
use schema_registry_converter::async_impl::easy_json::{EasyJsonDecoder, EasyJsonEncoder};
use schema_registry_converter::async_impl::easy_proto_decoder::EasyProtoDecoder;
use schema_registry_converter::async_impl::easy_proto_encoder::EasyProtoEncoder;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_all_versions, get_schema_by_id, get_schema_by_subject_and_version,
    is_compatible_schema, post_schema,
};
use schema_registry_converter::schema_registry_common::SubjectNameStrategy::TopicNameStrategyWithSchema;
use schema_registry_converter::schema_registry_common::{
    SchemaType, SubjectNameStrategy, SuppliedReference, SuppliedSchema,
};
use serde_json::json;

type Outcome = Result<(), Box<dyn Error>>;

const SECONDS_MAX: Duration = Duration::from_secs(40);

const USER: &str = r#"{"type":"record","name":"User","namespace":"probe","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"],"default":null}]}"#;
const CLICK: &str = r#"{"type":"object","properties":{"id":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}},"required":["id"]}"#;
const INNER: &str = "syntax = \"proto3\"; package probe; message Inner { string text = 1; }";
const EVENT: &str = "syntax = \"proto3\"; package probe; import \"probe/inner.proto\"; message First {} \
                     message Event { int32 id = 1; repeated Inner all = 2; map<string, int64> counts = 3; }";

/// A client that knows nothing yet.
fn settings() -> SrSettings {
    SrSettings::new(std::env::var("REGISTRY").expect("REGISTRY says where the registry is"))
}

/// A name that no other run uses.
fn fresh(prefix: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    format!("{prefix}-{}", now.as_nanos())
}

fn supplied(name: &str, kind: SchemaType, schema: &str) -> SuppliedSchema {
    SuppliedSchema::new(Some(name.to_owned()), kind, schema.to_owned())
}

fn values(topic: &str, schema: SuppliedSchema) -> SubjectNameStrategy {
    TopicNameStrategyWithSchema(topic.to_owned(), false, schema)
}

async fn avro_goes_there_and_back() -> Outcome {
    let strategy = values(&fresh("avro"), supplied("probe.User", SchemaType::Avro, USER));
    let name = Avro::Union(1, Box::new(Avro::String("ü".to_owned())));
    let user = [("id", Avro::Long(7)), ("name", name)];
    let written = EasyAvroEncoder::new(settings()).encode(user.to_vec(), strategy.clone()).await?;
    let read = EasyAvroDecoder::new(settings()).decode(Some(&written)).await?;
    let expected = user.clone().map(|(name, value)| (name.to_owned(), value)).to_vec();
    assert_eq!(read.value, Avro::Record(expected.clone()));

    // The schema's GUID in a header, and the bare value.
    let encoder = EasyAvroEncoder::new(settings());
    let (written, header) = encoder.encode_with_header_id(user.to_vec(), strategy, false).await?;
    let decoder = EasyAvroDecoder::new(settings());
    let read = decoder.decode_with_header_id(Some(&header.value), Some(&written)).await?;
    assert_eq!(read.value, Avro::Record(expected));
    Ok(())
}

async fn json_goes_there_and_back_and_is_validated() -> Outcome {
    let strategy = values(&fresh("json"), supplied("Click", SchemaType::Json, CLICK));
    let encoder = EasyJsonEncoder::new(settings());
    let click = json!({"id": 7, "tags": ["ü"]});
    let written = encoder.encode(&click, strategy.clone()).await?;
    let read = EasyJsonDecoder::new(settings()).decode(Some(&written)).await?.ok_or("nothing was read")?;
    assert_eq!(read.value, click);
    assert!(encoder.encode(&json!({"id": "x"}), strategy).await.is_err(), "it is invalid");
    Ok(())
}

async fn protobuf_with_references_goes_there_and_back() -> Outcome {
    let inner = SuppliedReference::new("probe/inner.proto".to_owned(), fresh("inner"), INNER.to_owned());
    let schema = supplied("probe.Event", SchemaType::Protobuf, EVENT).with_references(vec![inner]);
    let strategy = values(&fresh("protobuf"), schema);
    let event = json!({"id": 7, "all": [{"text": "ü"}], "counts": {"a": "1"}});
    let written = EasyProtoEncoder::new(settings()).encode_json(&event, "probe.Event", &strategy).await?;
    let read = EasyProtoDecoder::new(settings()).decode(Some(&written)).await?;
    let message = read.as_message().ok_or("it is no message")?;
    assert_eq!(message.get_field_by_name("id").ok_or("it has no id")?.as_i32(), Some(7));
    let all = message.get_field_by_name("all").ok_or("it has no parts")?;
    let first = all.as_list().and_then(|all| all.first()?.as_message()).ok_or("it has no part")?;
    assert_eq!(first.get_field_by_name("text").ok_or("it has no text")?.as_str(), Some("ü"));
    Ok(())
}

async fn schemas_are_registered_found_and_compared() -> Outcome {
    let (settings, subject) = (settings(), fresh("subject"));
    let user = supplied("probe.User", SchemaType::Avro, USER);
    let registered = post_schema(&settings, subject.clone(), user.clone()).await?;
    assert_eq!(get_schema_by_id(registered.id, &settings).await?.schema, USER);
    let found = get_schema_by_subject_and_version(&settings, &subject, Some(1)).await?;
    assert_eq!((found.id, found.version), (registered.id, Some(1)));
    assert!(get_all_subjects(&settings).await?.contains(&subject));
    assert_eq!(get_all_versions(&settings, subject.clone()).await?, [1]);
    assert!(is_compatible_schema(&settings, subject.clone(), user).await?);
    let other = supplied("probe.User", SchemaType::Avro, &USER.replace("\"id\"", "\"key\""));
    assert!(!is_compatible_schema(&settings, subject.clone(), other.clone()).await?);
    let refused = post_schema(&settings, subject, other).await.err().ok_or("it is incompatible")?;
    assert!(refused.to_string().contains("incompatible with an earlier schema"), "{refused}");
    Ok(())
}

/// Prints how a probe went.
async fn probe(name: &str, run: impl Future<Output = Outcome> + 'static) -> bool {
    let began = Instant::now();
    // On a task of its own, which a failed assertion ends and not the others.
    let ran = tokio::task::LocalSet::new()
        .run_until(async {
            let task = tokio::task::spawn_local(async { run.await.map_err(|error| error.to_string()) });
            tokio::time::timeout(SECONDS_MAX, task).await
        })
        .await;
    let detail = match ran {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(error),
        Ok(Err(panic)) => Some(panic.to_string()),
        Err(_) => Some(format!("no result in {SECONDS_MAX:?}")),
    };
    let (ok, detail) = (detail.is_none(), detail.unwrap_or_default());
    let seconds = (began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    println!(
        "{}",
        json!({"client": "sr_converter", "probe": name, "ok": ok, "seconds": seconds, "detail": detail})
    );
    ok
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut all = probe("avro_goes_there_and_back", avro_goes_there_and_back()).await;
    all &=
        probe("json_goes_there_and_back_and_is_validated", json_goes_there_and_back_and_is_validated()).await;
    all &=
        probe("protobuf_with_references_goes_there_and_back", protobuf_with_references_goes_there_and_back())
            .await;
    all &=
        probe("schemas_are_registered_found_and_compared", schemas_are_registered_found_and_compared()).await;
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
