//! The OpenAPI document: that it is one, by the specification's own schema and a validator of others, and that it is true.

use std::collections::BTreeSet;

use expect_test::expect_file;
use serde_json::{Value, json};

use super::super::routes::DOCUMENT;
use super::{exchange, serve};

/// <https://spec.openapis.org/oas/3.1/schema/2022-10-07>, by the OpenAPI Initiative under Apache-2.0.
const OPENAPI: &str = include_str!("openapi-3.1.json");

#[test]
fn the_document_in_the_documentation_is_that_of_the_routes() {
    let document = serde_json::to_string_pretty(&*DOCUMENT).unwrap() + "\n";
    expect_file!["../../../../../docs/api/agent.json"].assert_eq(&document);
}

#[test]
fn it_is_an_openapi_document() {
    let openapi = jsonschema::draft202012::new(&serde_json::from_str(OPENAPI).unwrap()).unwrap();
    let errors: Vec<_> = openapi.iter_errors(&DOCUMENT).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        let verdict = jsonschema::meta::validate(schema);
        verdict.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            schema.get("description").is_some(),
            "{name} has no description"
        );
    }
    let mut references = BTreeSet::new();
    collect_references(&DOCUMENT, &mut references);
    for reference in references {
        let place = reference.strip_prefix('#').unwrap();
        assert!(
            DOCUMENT.pointer(place).is_some(),
            "{reference} leads nowhere"
        );
    }
    let identifiers: Vec<_> = operations()
        .map(|(_, _, operation)| operation["operationId"].to_string())
        .collect();
    let distinct: BTreeSet<_> = identifiers.iter().collect();
    assert_eq!(distinct.len(), identifiers.len(), "{identifiers:?}");
}

fn collect_references(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_references(item, references)),
        Value::Object(fields) => {
            references.extend(
                fields
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields
                .values()
                .for_each(|field| collect_references(field, references));
        }
        _ => {}
    }
}

/// Every operation with its path and method.
fn operations() -> impl Iterator<Item = (&'static str, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
    })
}

/// Whether a value is as a schema of the document says.
#[track_caller]
pub(super) fn conforms(schema: &Value, value: &Value, of: &str) {
    let root = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    let validator = jsonschema::draft202012::new(&root).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{of}: {value}: {errors:#?}");
}

/// What the document says of an answer with this status.
pub(super) fn answer_schema(method: &str, path: &str, status: u16) -> Option<Value> {
    let known = operations().find(|(template, of, _)| *of == method && is_at(template, path));
    let (_, _, operation) = known?;
    let response = &operation["responses"][status.to_string()];
    let response = match response["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#')?)?,
        None => response,
    };
    let schema = &response["content"]["application/json"]["schema"];
    (!schema.is_null()).then(|| schema.clone())
}

fn is_at(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (parts, actual): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    parts.len() == actual.len()
        && parts
            .iter()
            .zip(actual)
            .all(|(part, actual)| part.starts_with('{') || *part == actual)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() {
    let served = serve();
    let mut asked = BTreeSet::new();
    for (request, body) in [
        ("GET /v1/status", ""),
        (
            "POST /v1/vswitches",
            "{name: vSwitch1, security: {promiscuous: accept}}",
        ),
        (
            "POST /v1/portgroups?wait=applied",
            "{name: Lab, vswitch: vSwitch1, vlan: 4095}",
        ),
        (
            "POST /v1/ports?yes=true",
            "{name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}",
        ),
        ("POST /v1/uplinks", "{vswitch: vSwitch1, interface: eth1}"),
        ("GET /v1/vswitches", ""),
        ("GET /v1/vswitches/vSwitch1", ""),
        ("GET /v1/portgroups", ""),
        ("GET /v1/portgroups/Lab", ""),
        ("GET /v1/ports", ""),
        ("GET /v1/ports/MyVM1", ""),
        ("GET /v1/ports/MyVM1/policy", ""),
        ("GET /v1/uplinks", ""),
        ("GET /v1/fdb?vswitch=vSwitch1", ""),
        ("GET /v1/stats?port=MyVM1&port=eth1", ""),
        ("GET /v1/drops", ""),
        ("GET /v1/activity", ""),
        (
            "POST /v1/trace",
            "{port: MyVM1, dst: '02:00:00:00:00:02', vlans: [4095], priority: 5, ethertype: 2054}",
        ),
        ("GET /v1/export", ""),
        ("GET /v1/events?since=0", ""),
        ("GET /v1/openapi.json", ""),
        (
            "PATCH /v1/vswitches/vSwitch1?dryRun=true",
            "{security: {promiscuous: reject}}",
        ),
        ("PATCH /v1/portgroups/Lab", "{vlan: 10}"),
        ("PATCH /v1/ports/MyVM1", "{mac: null, block: true}"),
        ("DELETE /v1/ports/MyVM1?resourceVersion=6", ""),
        (
            "POST /v1/vmks",
            "{name: vmk0, portgroup: Lab, ip: 10.0.0.11/24, mtu: 1400}",
        ),
        ("GET /v1/vmks", ""),
        ("GET /v1/vmks/vmk0", ""),
        ("PATCH /v1/vmks/vmk0", "{ip: null, mtu: null}"),
        ("DELETE /v1/vmks/vmk0?yes=true", ""),
        (
            "PUT /v1/netflow/vSwitch1",
            "{vswitch: vSwitch1, collectors: ['10.8.0.9:2055'], version: 9, sourceIp: 10.8.0.1, domain: 7}",
        ),
        (
            "PATCH /v1/netflow/vSwitch1",
            "{collectors: ['10.8.0.9:2055', '10.8.0.8:2055'], domain: null}",
        ),
        (
            "PATCH /v1/portgroups",
            "{portgroups: [Lab], set: {netflow: enabled}}",
        ),
        ("GET /v1/netflow", ""),
        ("GET /v1/netflow/vSwitch1", ""),
        ("GET /v1/flows?port=eth1&limit=10", ""),
        (
            "PATCH /v1/portgroups?dryRun=false",
            "{portgroups: [Lab], set: {netflow: inherit}}",
        ),
        ("DELETE /v1/netflow/vSwitch1", ""),
        ("DELETE /v1/vswitches/vSwitch1/uplinks/eth1", ""),
        ("DELETE /v1/portgroups/Lab?wait=none", ""),
        ("POST /v1/apply?confirm=60", "vswitches: [{name: vSwitch2}]"),
        ("POST /v1/confirm", ""),
        ("GET /v1/history", ""),
        ("GET /v1/history/1", ""),
        ("POST /v1/rollback", "{}"),
        ("DELETE /v1/vswitches/vSwitch1", ""),
    ] {
        let (status, answer) = exchange(&served, request, body).await;
        assert_eq!(status, 200, "{request}: {answer}");
        let (method, path) = request.split_once(' ').unwrap();
        let schema = answer_schema(method, path, 200)
            .unwrap_or_else(|| panic!("{request} is not in the document"));
        conforms(&schema, &answer, request);
        let known = operations().find(|(template, of, _)| *of == method && is_at(template, path));
        asked.insert(known.unwrap().2["operationId"].to_string());
    }
    let never: Vec<_> = operations()
        .map(|(_, _, operation)| operation["operationId"].to_string())
        .filter(|identifier| !asked.contains(identifier))
        .collect();
    assert_eq!(never, [""; 0], "add a request for each");
    assert!(served.client.vswitches().await.unwrap().is_empty());
}
