//! Functions of Terraform: resources `aws_lambda_function`, and calls of modules for functions, such
//! as `terraform-aws-modules/lambda/aws`.

use std::collections::BTreeMap;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey, TraversalOperator};
use hcl_edit::structure::{Block, Body, Structure};
use hcl_edit::template::{Element, StringTemplate};

use super::described::{Described, Function, is_python, parent, resolve, timeout};
use super::survey::Survey;

/// Reads all files `*.tf` of the project, one folder after the other.
pub(super) fn read(survey: &Survey) -> Described {
    let mut modules: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
    for path in survey.below("").filter(|path| path.ends_with(".tf")) {
        if let Some(text) = survey.text(path) {
            modules.entry(parent(path)).or_default().push((path, text));
        }
    }
    let mut described = Described::default();
    for (folder, files) in modules {
        let mut parsed: Vec<File> = Vec::new();
        for (path, text) in &files {
            match File::new(path, text) {
                Some(file) => parsed.push(file),
                None => described.unread(path, "HCL"),
            }
        }
        described.add(Module { folder, files: &parsed }.functions());
    }
    described
}

struct File<'a> {
    path: &'a str,
    text: &'a str,
    body: Body,
}

impl<'a> File<'a> {
    fn new(path: &'a str, text: &'a str) -> Option<Self> {
        Some(Self { path, text, body: hcl_edit::parser::parse_body(text).ok()? })
    }

    fn origin(&self, block: &Block) -> String {
        let at = block.span().map_or(0, |span| span.start);
        format!("`{}`, line {}", self.path, self.text[..at].matches('\n').count() + 1)
    }
}

/// All files of a folder, which may use each other's declarations.
struct Module<'a> {
    folder: &'a str,
    files: &'a [File<'a>],
}

impl Module<'_> {
    fn blocks(&self, kind: &str) -> impl Iterator<Item = (&File<'_>, &Block)> {
        self.files.iter().flat_map(move |file| {
            file.body
                .blocks()
                .filter(move |block| block.has_ident(kind))
                .map(move |block| (file, block))
        })
    }

    fn functions(&self) -> Described {
        let mut described = Described::default();
        let resources = self.blocks("resource").filter(|(_, block)| {
            block.labels.first().is_some_and(|label| label.as_str() == "aws_lambda_function")
        });
        let modules = self.blocks("module").filter(|(_, block)| {
            let source = self.attribute(block, "source");
            source.is_some_and(|source| source.to_lowercase().contains("lambda"))
                && block.body.has_attribute("handler")
        });
        for (file, block) in resources.chain(modules) {
            let name = block.labels.last().map_or("function", |label| label.as_str());
            match self.function(name, file, block) {
                Ok(function) => {
                    let keys = ["runtime", "architectures"];
                    described.push(function, keys.map(|key| block.body.has_attribute(key)));
                }
                Err(why) => described.note(format!(
                    "{}: the function `{name}` was not taken over: {why}",
                    file.origin(block)
                )),
            }
        }
        described
    }

    fn function(&self, name: &str, file: &File, block: &Block) -> Result<Function, String> {
        let text = |key: &str| self.attribute(block, key);
        if text("package_type").is_some_and(|package| package == "Image") {
            return Err("it is made from a container image".into());
        }
        let runtime = text("runtime");
        if let Some(other) = runtime.as_ref().filter(|runtime| !is_python(runtime)) {
            return Err(format!("its runtime is {other}"));
        }
        let archs = block.body.get_attribute("architectures");
        let arch = archs.and_then(|archs| self.text(archs.value.as_array()?.iter().next()?, 0));
        Ok(Function {
            name: name.to_owned(),
            lambda_name: text("function_name"),
            handler: text("handler"),
            folder: self.source(block).unwrap_or_else(|| self.folder.to_owned()),
            runtime,
            arch,
            timeout: text("timeout").as_deref().and_then(timeout),
            origin: file.origin(block),
        })
    }

    /// The folder of the code: `source_path`, or that of the archive that `filename` refers to.
    fn source(&self, block: &Block) -> Option<String> {
        if let Some(path) = block.body.get_attribute("source_path") {
            return self.folder_of(&self.source_path(&path.value)?);
        }
        let filename = block.body.get_attribute("filename")?.value.as_traversal()?;
        let mut names = filename.operators.iter().filter_map(|operator| match operator.value() {
            TraversalOperator::GetAttr(name) => Some(name.as_str()),
            _ => None,
        });
        let is_archive =
            filename.expr.as_variable()?.as_str() == "data" && names.next() == Some("archive_file");
        let name = names.next().filter(|_| is_archive)?;
        let (_, archive) = self
            .blocks("data")
            .find(|(_, block)| block.labels.last().is_some_and(|label| label.as_str() == name))?;
        match self.attribute(archive, "source_dir") {
            Some(folder) => self.folder_of(&folder),
            None => self.folder_of(parent(&self.attribute(archive, "source_file")?)),
        }
    }

    /// The first path of a `source_path`: a text, an object with `path`, or a list of these.
    fn source_path(&self, value: &Expression) -> Option<String> {
        match value {
            Expression::Array(paths) => self.source_path(paths.iter().next()?),
            Expression::Object(object) => {
                let is_path =
                    |key: &ObjectKey| key.as_ident().is_some_and(|key| key.as_str() == "path");
                let (_, path) = object.iter().find(|(key, _)| is_path(key))?;
                self.text(path.expr(), 0)
            }
            text => self.text(text, 0),
        }
    }

    /// A path of this module relative to the project. A Python file stands for its folder.
    fn folder_of(&self, path: &str) -> Option<String> {
        let path = if path.ends_with(".py") { parent(path) } else { path };
        resolve(self.folder, if path.is_empty() { "." } else { path })
    }

    fn attribute(&self, block: &Block, key: &str) -> Option<String> {
        self.text(&block.body.get_attribute(key)?.value, 0)
    }

    /// A text, if it is literal or made of variables with defaults, of locals and `path.module`.
    fn text(&self, expression: &Expression, depth: usize) -> Option<String> {
        if depth > 8 {
            return None;
        }
        match expression {
            Expression::String(text) => Some(text.to_string()),
            Expression::Number(number) => Some(number.value().to_string()),
            Expression::Parenthesis(inner) => self.text(inner.inner(), depth + 1),
            Expression::StringTemplate(template) => self.template(template, depth),
            Expression::Traversal(traversal) => {
                let [operator] = traversal.operators.as_slice() else { return None };
                let TraversalOperator::GetAttr(name) = operator.value() else { return None };
                match traversal.expr.as_variable()?.as_str() {
                    "var" => self.variable(name.as_str(), depth),
                    "local" => self.local(name.as_str(), depth),
                    "path" => Some(".".into()),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn template(&self, template: &StringTemplate, depth: usize) -> Option<String> {
        let parts = template.iter().map(|element| match element {
            Element::Literal(text) => Some(text.to_string()),
            Element::Interpolation(inner) => self.text(&inner.expr, depth + 1),
            Element::Directive(_) => None,
        });
        parts.collect()
    }

    fn variable(&self, name: &str, depth: usize) -> Option<String> {
        let mut variables = self.blocks("variable");
        let (_, block) = variables
            .find(|(_, block)| block.labels.first().is_some_and(|label| label.as_str() == name))?;
        self.text(&block.body.get_attribute("default")?.value, depth + 1)
    }

    fn local(&self, name: &str, depth: usize) -> Option<String> {
        let values = self.blocks("locals").flat_map(|(_, block)| block.body.iter());
        let mut values = values.filter_map(Structure::as_attribute);
        let value = values.find(|attribute| attribute.has_key(name))?;
        self.text(&value.value, depth + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(text: &str) -> Described {
        let files = [File::new("infra/main.tf", text).unwrap()];
        Module { folder: "infra", files: &files }.functions()
    }

    #[test]
    fn resources_have_the_folder_of_their_archive() {
        let described = functions(
            r#"
variable "stage" { default = "dev" }
locals { prefix = "shop-${var.stage}" }
data "archive_file" "code" {
  type       = "zip"
  source_dir = "${path.module}/../src"
}
resource "aws_lambda_function" "api" {
  function_name = "${local.prefix}-api"
  filename      = data.archive_file.code.output_path
  handler       = "app.handler"
  runtime       = "python3.13"
  architectures = ["arm64"]
  timeout       = 10
}
resource "aws_lambda_function" "web" {
  function_name = "web"
  runtime       = "nodejs22.x"
}
"#,
        );
        let expected = Function {
            name: "api".into(),
            lambda_name: Some("shop-dev-api".into()),
            handler: Some("app.handler".into()),
            folder: "src".into(),
            runtime: Some("python3.13".into()),
            arch: Some("arm64".into()),
            timeout: Some(10),
            origin: "`infra/main.tf`, line 8".into(),
        };
        assert_eq!(described.functions, [expected]);
        assert_eq!(described.notes.len(), 1);
    }

    #[test]
    fn calls_of_modules_have_a_source_path() {
        let described = functions(
            "module \"worker\" {\n  source = \"terraform-aws-modules/lambda/aws\"\n  \
             function_name = var.unknown\n  handler = \"worker.main\"\n  runtime = \"python3.12\"\n  \
             source_path = [\"../worker\", \"x\"]\n}\n\
             module \"vpc\" { source = \"terraform-aws-modules/vpc/aws\" }\n\
             module \"mail\" {\n  source = \"./lambda\"\n  handler = \"mail.main\"\n  \
             architectures = [var.arch]\n  source_path = [{ path = \"${path.module}/../mail\" }]\n}\n",
        );
        let [worker, mail] = described.functions.as_slice() else { panic!("{described:?}") };
        assert_eq!((worker.folder.as_str(), &worker.lambda_name), ("worker", &None));
        assert_eq!(worker.arch.as_deref(), Some("x86_64"));
        assert_eq!(mail.folder, "mail");
        let [note] = described.notes.as_slice() else { panic!("{described:?}") };
        assert!(
            note.contains("the architecture of `mail` is computed; x86_64 is assumed"),
            "{note}"
        );
    }
}
