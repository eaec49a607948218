//! Functions of `serverless.yml`.

use super::described::{Described, Function, is_python, timeout};
use super::survey::Survey;
use super::yaml::Node;

const NAMES: [&str; 3] = ["serverless.yml", "serverless.yaml", "serverless.json"];

/// Reads the file in the project's folder.
pub(super) fn read(survey: &Survey) -> Described {
    let Some(path) = NAMES.into_iter().find(|path| survey.has(path)) else {
        return Described::default();
    };
    let root = survey.text(path).as_deref().and_then(Node::parse);
    root.map_or_else(
        || {
            let mut described = Described::default();
            described.unread(path, "YAML");
            described
        },
        |root| functions(path, &root),
    )
}

fn functions(path: &str, root: &Node) -> Described {
    let mut described = Described::default();
    let provider = |key: &str| root.at(&["provider", key]);
    // A name such as `${self:service}-api` is computed.
    let literal = |node: &Node| node.text().filter(|text| !text.contains("${")).map(str::to_owned);
    // `service` may be a mapping with a name.
    let service = root.at(&["service", "name"]).or_else(|| root.get("service")).and_then(literal);
    let stage = match provider("stage") {
        Some(stage) => literal(stage),
        None => Some("dev".into()),
    };
    // `functions` may be a list of mappings.
    let all = root.get("functions");
    let tables = all.into_iter().chain(all.into_iter().flat_map(Node::items));
    for (name, node) in tables.flat_map(Node::entries) {
        let property = |key: &str| node.get(key).or_else(|| provider(key)).and_then(literal);
        let runtime = property("runtime");
        let why = match &runtime {
            Some(other) if !is_python(other) => Some(format!("its runtime is {other}")),
            _ if node.get("image").is_some() => Some("it is made from a container image".into()),
            _ => None,
        };
        if let Some(why) = why {
            described.note(format!(
                "`{path}`, line {}: the function `{name}` was not taken over: {why}",
                node.line
            ));
            continue;
        }
        let states = ["runtime", "architecture"]
            .map(|key| node.get(key).or_else(|| provider(key)).is_some());
        let own = node.get("name").map(literal);
        let usual = || Some(format!("{}-{}-{name}", service.as_ref()?, stage.as_ref()?));
        let function = Function {
            name: name.to_owned(),
            lambda_name: own.unwrap_or_else(usual),
            handler: node.get("handler").and_then(literal),
            folder: String::new(),
            runtime,
            arch: property("architecture"),
            timeout: property("timeout").as_deref().and_then(timeout),
            origin: format!("`{path}`, line {}", node.line),
        };
        described.push(function, states);
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_after_service_and_stage() {
        let text = "service: shop\nprovider:\n  name: aws\n  runtime: python3.12\n  architecture: arm64\n\
                    functions:\n  api:\n    handler: src/api.handler\n  other:\n    name: ${self:x}\n    \
                    handler: b.c\n  js: {handler: i.h, runtime: nodejs20.x}\n";
        let described = functions("serverless.yml", &Node::parse(text).unwrap());
        let [api, other] = described.functions.as_slice() else { panic!("{described:?}") };
        assert_eq!(api.lambda_name.as_deref(), Some("shop-dev-api"));
        assert_eq!(api.handler.as_deref(), Some("src/api.handler"));
        assert_eq!(
            (api.runtime.as_deref(), api.arch.as_deref()),
            (Some("python3.12"), Some("arm64"))
        );
        assert_eq!(other.lambda_name, None);
        assert_eq!(described.notes.len(), 1);
    }
}
