//! Whatever somebody sends is read or refused, soon; and what is read prints as something that says the
//! same. Schemas are mutated by chance, from a seed: `TIDEGATE_FUZZ_SEED` and `TIDEGATE_FUZZ_SECONDS` (of each
//! language) try others, and longer.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_languages::{Age, Language, ParsedSchema, Policy, Strictness, Verdict};
use tidegate_schema::Chance;

/// The longest that one schema may take, in a build without optimisation, on a loaded machine.
const CASE_MAX: Duration = Duration::from_secs(10);
const CASES: u64 = 3_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Texts with what the Java library made of them.
const AVRO: &str = include_str!("fixtures/avro-texts.json");

const JSON: [&str; 8] = [
    r##"{"$schema":"http://json-schema.org/draft-07/schema#","$id":"http://x/y.json","title":"T","type":"object","properties":{"a":{"type":"integer","minimum":0,"exclusiveMaximum":1.5e3},"b":{"$ref":"#/definitions/d"},"c":{"type":["string","null"],"pattern":"^a+$","minLength":1}},"required":["a"],"additionalProperties":false,"definitions":{"d":{"type":"array","items":{"$ref":"#/definitions/d"},"maxItems":3,"uniqueItems":true}}}"##,
    r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","$defs":{"n":{"$anchor":"n","type":"number"}},"prefixItems":[{"$ref":"\u0023/$defs/n"},true],"items":false,"unevaluatedProperties":{"type":"string"},"dependentRequired":{"a":["b"]},"dependentSchemas":{"c":{"maxProperties":2}}}"#,
    r#"{"$schema":"http://json-schema.org/draft-04/schema#","id":"x","minimum":1,"exclusiveMinimum":true,"oneOf":[{"enum":[1,"a",null,[1],{"b":2}]},{"not":{"type":"null"}}]}"#,
    r#"{"allOf":[{"anyOf":[{"type":"string"},{"type":"integer","multipleOf":0.1}]},{"if":{"const":1},"then":true,"else":false}],"patternProperties":{"^x":{"type":"string"},"y$":false},"additionalProperties":{"type":"number"}}"#,
    r#"{"type":"array","items":[{"type":"string"},{"type":"boolean"}],"additionalItems":{"type":"null"},"contains":{"const":1},"minContains":2}"#,
    r#"{"properties":{"confluent":{"connect.type":"bytes","type":"number","title":"org.apache.kafka.connect.data.Decimal"}},"dependencies":{"a":["b"],"c":{"required":["d"]}},"propertyNames":{"maxLength":3}}"#,
    "true",
    "{}",
];

const PROTOBUF: [&str; 6] = [
    "syntax = \"proto3\"; package a.b; import \"google/protobuf/timestamp.proto\"; option java_package = \"x\\n\\377\"; message M { reserved 5, 7 to 9, 20 to max; reserved \"x\"; map<string, M> m = 1; oneof o { int32 a = 2 [json_name = \"A\"]; N b = 3; } optional google.protobuf.Timestamp t = 4; message N { repeated sint64 all = 1 [packed = false]; } enum E { Z = 0; Y = -1; } E e = 6; }",
    "syntax = \"proto2\"; message A { required int32 x = 1 [default = -7]; optional group G = 2 { optional string s = 3 [default = \"a\\\"b\"]; } extensions 100 to 199, 500 to max; } extend A { optional double d = 100 [default = inf]; }",
    "edition = \"2023\"; package p; option features.field_presence = IMPLICIT; message A { int32 n = 1 [features.field_presence = LEGACY_REQUIRED]; repeated int32 all = 2; string s = 3; }",
    "syntax = \"proto3\"; import \"google/protobuf/descriptor.proto\"; extend google.protobuf.MessageOptions { O note = 50002; } message O { int32 deep = 1; O part = 2; repeated string names = 3; } message Noted { option (note) = { deep: 1, names: [ \"a\" ], part: { deep: -2 } }; option (note).part.deep = 3; }",
    "// c\n/* d */ syntax = 'proto3'; service S { rpc Buy (A) returns (stream A) { option deprecated = true; } rpc Ask (stream A) returns (A); } message A { string s = 1 [deprecated = true]; }",
    "CgFhIggKAUEqA1gxMGIGcHJvdG8z",
];

/// Pieces that mean something somewhere.
const PIECES: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    ",",
    ":",
    ";",
    "=",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    ".",
    "-",
    "0",
    "1",
    "-1",
    "1e999",
    "2147483648",
    "536870911",
    "99999999999999999999",
    "null",
    "true",
    "\"type\"",
    "\"name\"",
    "\"fields\"",
    "\"items\"",
    "\"default\"",
    "\"record\"",
    "\"$ref\"",
    "\"#\"",
    "\"allOf\"",
    "\"enum\"",
    "message A {",
    "oneof o {",
    "optional",
    "repeated",
    "required",
    "map<",
    "reserved",
    "import",
    "ü",
    "\u{0}",
    "\u{feff}",
];

/// A text after one to four changes.
fn mutated(chance: &mut Chance, texts: &[String]) -> String {
    let mut chars: Vec<char> = chance.of(texts).unwrap().chars().collect();
    for _ in 0..=chance.below(4) {
        let at = chance.below(chars.len() + 1);
        let end = chars.len().min(at + chance.below(16));
        match chance.below(6) {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, chance.of(&PIECES).unwrap().chars())),
            2 => drop(chars.splice(at..end, chance.of(&PIECES).unwrap().chars())),
            3 => {
                let piece: Vec<char> = chars[at..end].to_vec();
                let to = chance.below(chars.len() + 1);
                drop(chars.splice(to..to, piece));
            }
            4 => {
                let other: Vec<char> = chance.of(texts).unwrap().chars().collect();
                let from = chance.below(other.len() + 1);
                let to = other.len().min(from + chance.below(64));
                drop(chars.splice(at..at, other[from..to].iter().copied()));
            }
            _ => {
                let n = 1 + chance.below(80);
                let piece: String = chars[at..end].iter().collect();
                drop(chars.splice(at..at, piece.repeat(n).chars().collect::<Vec<_>>()));
            }
        }
    }
    chars.into_iter().collect()
}

/// What must hold of a schema that was read.
fn check(schema: &ParsedSchema, before: &ParsedSchema, strictness: Strictness) {
    for policy in [Policy::Strict, Policy::Lenient] {
        for (reader, writer) in [(schema, before), (before, schema)] {
            if let Verdict::Differences(all) = reader.reads(writer, policy) {
                for one in all {
                    assert!(!one.explanation().is_empty() && !one.confluent_message(Age::New).is_empty());
                }
            }
        }
    }
    for format in ["resolved", "serialized", "ignore_extensions"] {
        drop(schema.formatted(format));
    }
    let (printed, normal) = (schema.canonical(), schema.normalized());
    // What was stored without a check may mean nothing, and then has no text that does.
    if strictness == Strictness::Fresh {
        check_texts(schema, &printed, &normal);
    }
}

/// The texts that are made of a schema say the same.
fn check_texts(schema: &ParsedSchema, printed: &str, normal: &str) {
    let parse = |text: &str, what: &str, strictness: Strictness| {
        ParsedSchema::parse(schema.language(), text, &[], strictness)
            .unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
    };
    let again = parse(printed, "its canonical text is not read", Strictness::Fresh);
    // As Java does, we print a number that is too large for it as a text, and an alias outside of the
    // namespace as one inside, where it may be the same as another.
    let altered = printed.contains("Infinity\"") || printed.contains("\"aliases\"");
    let second = again.canonical();
    assert!(second == printed || altered, "its canonical text {printed} has another, {second}");
    let same = again.equivalent(schema).unwrap_or(true);
    assert!(same || altered, "it is not equivalent to its canonical text {printed}");
    // In the normal form, as in Confluent's, an enum is in the order of its numbers: with negative ones it is
    // none that a compiler takes.
    let again_normal = parse(normal, "its normal text is not read", Strictness::Stored);
    assert!(again_normal.normalized() == normal || altered, "its normal text {normal} has another");
    match schema.reads(&again, Policy::Strict) {
        Verdict::Differences(all) => assert_eq!(all, [], "it does not read itself"),
        Verdict::Undecided(_) | Verdict::OtherLanguage => {}
    }
}

fn attack(language: Language, texts: &[String]) {
    let seed = setting("TIDEGATE_FUZZ_SEED").unwrap_or(1);
    let end = setting("TIDEGATE_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut chance = Chance::new(seed);
    let (mut case, mut n_read, mut before) = (0, 0, None);
    while end.map_or(case < CASES, |end| Instant::now() < end) {
        case += 1;
        let text = mutated(&mut chance, texts);
        let strictness = *chance.of(&[Strictness::Fresh, Strictness::Stored]).unwrap();
        let began = Instant::now();
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let schema = ParsedSchema::parse(language, &text, &[], strictness).ok()?;
            check(&schema, before.as_ref().unwrap_or(&schema), strictness);
            Some(schema)
        }));
        let Ok(schema) = tried else {
            panic!("{language} with seed {seed}, case {case}, {strictness:?}: {text}")
        };
        assert!(began.elapsed() < CASE_MAX, "{:?} with seed {seed}, case {case}: {text}", began.elapsed());
        if let Some(schema) = schema {
            n_read += 1;
            before = Some(schema);
        }
    }
    println!("{language}, seed {seed}: {case} texts, {n_read} read");
    assert!(n_read > 0, "no mutation is read: the checks saw nothing");
}

#[test]
fn mutated_avro_schemas_are_read_or_refused() {
    let texts: Vec<Value> = serde_json::from_str(AVRO).unwrap();
    let texts: Vec<String> = texts.iter().map(|one| one["text"].as_str().unwrap().to_owned()).collect();
    attack(Language::Avro, &texts);
}

#[test]
fn mutated_json_schemas_are_read_or_refused() {
    attack(Language::Json, &JSON.map(str::to_owned));
}

#[test]
fn mutated_protobuf_schemas_are_read_or_refused() {
    attack(Language::Protobuf, &PROTOBUF.map(str::to_owned));
}
