//! Functions of SAM and CloudFormation templates.

use std::collections::BTreeMap;

use super::described::{Described, Function, is_python, parent, resolve, timeout};
use super::survey::Survey;
use super::yaml::Node;

const NAMES: [&str; 6] =
    ["template.yaml", "template.yml", "template.json", "sam.yaml", "sam.yml", "sam.json"];

/// Reads the templates in the project's folder, and in folders directly below it.
pub(super) fn read(survey: &Survey) -> Described {
    let mut described = Described::default();
    let is_template = |path: &&str| {
        path.matches('/').count() <= 1
            && NAMES.contains(&path.rsplit('/').next().unwrap_or_default())
    };
    for path in survey.below("").filter(is_template) {
        match survey.text(path).as_deref().and_then(Node::parse) {
            Some(template) => described.add(Template::new(path, &template).functions()),
            None => described.unread(path, "YAML"),
        }
    }
    described
}

struct Template<'a> {
    path: &'a str,
    root: &'a Node,
    /// Defaults of parameters.
    parameters: BTreeMap<&'a str, &'a str>,
}

impl<'a> Template<'a> {
    fn new(path: &'a str, root: &'a Node) -> Self {
        let parameters = root.get("Parameters").into_iter().flat_map(Node::entries);
        let default =
            |(name, node): (&'a str, &'a Node)| Some((name, node.get("Default")?.text()?));
        Self { path, root, parameters: parameters.filter_map(default).collect() }
    }

    fn functions(&self) -> Described {
        let mut described = Described::default();
        for (name, resource) in self.root.get("Resources").into_iter().flat_map(Node::entries) {
            let kind = resource.get("Type").and_then(Node::text).unwrap_or_default();
            if kind == "AWS::Serverless::LayerVersion" {
                described.note(format!(
                    "`{}`, line {}: the layer `{name}` was not taken over (kind `layer`)",
                    self.path, resource.line
                ));
            }
            if !["AWS::Serverless::Function", "AWS::Lambda::Function"].contains(&kind) {
                continue;
            }
            match self.function(name, kind, resource) {
                Ok((function, states)) => described.push(function, states),
                Err(why) => described.note(format!(
                    "`{}`, line {}: the function `{name}` was not taken over: {why}",
                    self.path, resource.line
                )),
            }
        }
        described
    }

    /// Returns a function, and whether it has a runtime and an architecture.
    fn function(
        &self,
        name: &str,
        kind: &str,
        resource: &Node,
    ) -> Result<(Function, [bool; 2]), String> {
        let property = |key: &str| {
            let own = resource.at(&["Properties", key]);
            let global = || self.root.at(&["Globals", "Function", key]);
            own.or_else(|| if kind == "AWS::Serverless::Function" { global() } else { None })
        };
        let text = |key: &str| self.text(property(key)?);
        if text("PackageType").is_some_and(|package| package == "Image") {
            return Err("it is made from a container image".into());
        }
        let runtime = text("Runtime");
        if let Some(other) = runtime.as_ref().filter(|runtime| !is_python(runtime)) {
            return Err(format!("its runtime is {other}"));
        }
        let code = match kind {
            "AWS::Lambda::Function" => text("Code").ok_or("its code is not a folder")?,
            _ if property("InlineCode").is_some() => {
                return Err("its code is in the template".into());
            }
            _ => text("CodeUri").unwrap_or_else(|| ".".into()),
        };
        let folder = resolve(parent(self.path), &code);
        let folder = folder.ok_or_else(|| format!("`{code}` is not in the project"))?;
        let states = ["Runtime", "Architectures"].map(|key| property(key).is_some());
        let function = Function {
            name: name.to_owned(),
            lambda_name: text("FunctionName"),
            handler: text("Handler"),
            folder,
            runtime,
            arch: property("Architectures")
                .and_then(|archs| archs.items().next())
                .and_then(|arch| self.text(arch)),
            timeout: text("Timeout").as_deref().and_then(timeout),
            origin: format!("`{}`, line {}", self.path, resource.line),
        };
        Ok((function, states))
    }

    /// A text, if it is literal or made of parameters with defaults.
    fn text(&self, node: &Node) -> Option<String> {
        if let Some(text) = node.text() {
            return Some(text.to_owned());
        }
        if let Some(parameter) = node.call("Ref") {
            return self.parameters.get(parameter).map(ToString::to_string);
        }
        let mut text = node.call("Sub")?.to_owned();
        for (name, value) in &self.parameters {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        (!text.contains("${")).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: dev}
Globals:
  Function:
    Runtime: python3.13
    Architectures: [arm64]
    Timeout: 3
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "hello-${Stage}"
      CodeUri: hello_world/
      Handler: app.lambda_handler
      Timeout: 30
  Node:
    Type: AWS::Serverless::Function
    Properties: {Runtime: nodejs22.x, Handler: index.handler}
  Table:
    Type: AWS::DynamoDB::Table
  Computed:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${AWS::StackName}-x"
      Handler: app.main
      Runtime: !FindInMap [Runtimes, main, python]
      Architectures: !If [IsArm, [arm64], [x86_64]]
"#;

    #[test]
    fn functions_have_their_own_properties_and_those_of_all() {
        let root = Node::parse(TEMPLATE).unwrap();
        let described = Template::new("sub/template.yaml", &root).functions();
        let [hello, computed] = described.functions.as_slice() else { panic!("{described:?}") };
        let expected = Function {
            name: "Hello".into(),
            lambda_name: Some("hello-dev".into()),
            handler: Some("app.lambda_handler".into()),
            folder: "sub/hello_world".into(),
            runtime: Some("python3.13".into()),
            arch: Some("arm64".into()),
            timeout: Some(30),
            origin: "`sub/template.yaml`, line 12".into(),
        };
        assert_eq!(*hello, expected);
        assert_eq!((&computed.lambda_name, computed.folder.as_str()), (&None, "sub"));
        assert_eq!((&computed.runtime, computed.arch.as_deref()), (&None, Some("x86_64")));
        let [node, runtime, arch] = described.notes.as_slice() else { panic!("{described:?}") };
        assert!(node.ends_with("its runtime is nodejs22.x"), "{node}");
        let origin = "`sub/template.yaml`, line 24: the";
        assert_eq!(
            *runtime,
            format!("{origin} runtime of `Computed` is computed; --runtime gives it")
        );
        let expected = "is computed; x86_64 is assumed, --arch gives another";
        assert_eq!(*arch, format!("{origin} architecture of `Computed` {expected}"));
    }
}
