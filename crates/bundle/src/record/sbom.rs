//! The bill of materials of a bundle: CycloneDX 1.6. It has only facts that are equal in two builds
//! of the same inputs, so it has no time.

use serde_json::{Value, json};

use super::{Licence, Record, Wheel};

pub fn sbom(record: &Record) -> Value {
    let zip = &record.zip;
    let root = format!("sha256:{}", zip.sha256);
    let components: Vec<Value> = record.body.wheels.iter().map(component).collect();
    let references: Vec<String> = record.body.wheels.iter().map(reference).collect();
    let mut dependencies = vec![json!({ "ref": root, "dependsOn": references })];
    dependencies.extend(references.iter().map(|reference| json!({ "ref": reference })));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&zip.sha256)),
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    { "type": "application", "name": "zipwright", "version": record.zipwright }
                ]
            },
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": zip.name,
                "hashes": [{ "alg": "SHA-256", "content": zip.sha256 }],
                "properties": [
                    { "name": "zipwright:code_sha256", "value": zip.code_sha256 },
                    { "name": "zipwright:content_digest", "value": record.body.content.digest },
                ],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

/// Two wheels of one project and version differ in their file names.
fn reference(wheel: &Wheel) -> String {
    format!("{}?file_name={}", wheel.purl(), wheel.file)
}

fn component(wheel: &Wheel) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(wheel),
        "name": wheel.project,
        "version": wheel.version,
        "hashes": [{ "alg": "SHA-256", "content": wheel.sha256 }],
        "purl": wheel.purl(),
    });
    match &wheel.licence {
        Some(Licence::Expression(text)) => {
            component["licenses"] = json!([{ "expression": text }]);
        }
        Some(Licence::Name(name)) => {
            component["licenses"] = json!([{ "license": { "name": name } }]);
        }
        None => {}
    }
    component
}

/// Returns a UUID of the custom form (version 8) made from a hash.
fn uuid(hex: &str) -> String {
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}
