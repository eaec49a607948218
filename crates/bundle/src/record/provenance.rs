//! The provenance of a bundle: an unsigned in-toto statement with the SLSA provenance predicate.

use serde_json::{Value, json};

use super::{Origin, Record};

const BUILD_TYPE: &str = "urn:zipwright:bundle:1";
const BUILDER: &str = "urn:zipwright:command-line";

pub fn provenance(record: &Record) -> Value {
    let informative = &record.body.informative;
    let mut dependencies: Vec<Value> = Vec::new();
    if let Some(git) = &informative.git {
        dependencies.push(json!({
            "name": "project",
            "digest": { "gitCommit": git.commit },
            "annotations": { "clean": git.clean },
        }));
    }
    for wheel in &record.body.wheels {
        let obtained = informative.wheels.iter().find(|(file, _)| *file == wheel.file);
        dependencies.push(json!({
            "name": wheel.file,
            "uri": wheel.purl(),
            "digest": { "sha256": wheel.sha256 },
            "annotations": { "obtained": obtained.map_or("unknown", |(_, how)| how) },
        }));
    }
    for member in &record.body.members {
        if let Origin::Source(path) = &member.origin {
            dependencies.push(json!({ "name": path, "digest": { "blake3": member.blake3 } }));
        }
    }
    for build in &informative.builds {
        for requirement in &build.requires {
            dependencies.push(json!({
                "name": requirement.file,
                "digest": { "sha256": requirement.sha256 },
                "annotations": { "builds": build.wheel },
            }));
        }
    }
    let interpreters: serde_json::Map<String, Value> = informative
        .interpreters
        .iter()
        .map(|(target, identity)| (target.clone(), Value::from(identity.as_str())))
        .collect();
    let builds = informative
        .builds
        .iter()
        .map(|build| json!({ "wheel": build.wheel, "path": build.path, "tools": build.tools }));
    let builds: Vec<Value> = builds.collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": record.zip.name, "digest": { "sha256": record.zip.sha256 } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "zip": record.zip.name,
                    "wheelhouses": record.body.wheelhouses,
                },
                "internalParameters": {
                    "form": record.zip.form,
                    "content": record.body.content.digest,
                    "interpreters": interpreters,
                    "builds": builds,
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": { "id": BUILDER, "version": { "zipwright": record.zipwright } },
                "metadata": { "finishedOn": informative.time },
            },
        },
    })
}
