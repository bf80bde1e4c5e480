//! The documentation as Markdown, and as plain text for terminals.

use super::module::{Function, Module, docs};

const HEAD: &str = "\
# The standard library of durhai scripts

<!-- Written by `cargo xtask docs` from the comments in rhai/. Edit those. -->

Modules for workflows: `import \"std/text\" as text;` at the top of a script, then `text::slug(\"Größe 5\")`. None of them has
effects, a clock or chance of its own, so a replay sees the same. Those marked *pure* make no durable call either; scripts
in `steps/` can import them too.

What an expression gives stands behind it as `// => value`, what it throws as `// => throws value`; the tests run every
example. In a terminal: `durhai docs std/text`, `durhai docs text::slug`.

The texts of the modules become part of a workflow's version: runs that are under way go on with the library they began
with.
";

const EDITORS: &str = "\
## Completion in editors

`durhai definitions .definitions` writes what scripts can call (durable calls, these modules, what steps have, the language's
own functions) as definition files. The Rhai language server (<https://github.com/rhaiscript/lsp>, with an extension for VS Code)
completes, explains and checks by them: open the folder that holds both `.definitions` and the scripts. It looks at every
`*.rhai` file below; where a `Rhai.toml` narrows that, `[source] include` must name `.definitions/**/*.rhai` too. Run the
command again when a folder with scripts is added: the server looks for `std/…` beside each of them.
";

/// `stdlib/README.md`.
pub fn readme() -> String {
    let modules = docs();
    let mut out = String::from(HEAD);
    out.push_str("\n| module | for | functions |\n|---|---|---|\n");
    for module in &modules {
        let pure = if module.pure { " (pure)" } else { "" };
        let names: Vec<_> = module.functions.iter().map(|function| format!("`{}`", function.name)).collect();
        let line =
            format!("| [`{0}`](#{1}) | {2}{pure} | {3} |\n", module.name, anchor(module.name), module.summary(), {
                names.join(" ")
            });
        out.push_str(&line);
    }
    for module in &modules {
        out.push_str(&format!("\n## {}\n\n{}\n", module.name, module.text));
        for function in &module.functions {
            out.push_str(&section(module, function));
        }
    }
    out.push('\n');
    out.push_str(EDITORS);
    out
}

fn section(module: &Module, function: &Function) -> String {
    let signatures = function.signatures().join(&format!("` · `{}::", module.alias));
    let mut out = format!("\n### `{}::{signatures}`\n\n{}\n", module.alias, function.text);
    for example in &function.examples {
        out.push_str(&format!("\n```rhai\n{example}```\n"));
    }
    out
}

/// A function for a terminal: its forms, its text, its examples.
pub fn text(module: &Module, function: &Function) -> String {
    let mut out = String::new();
    for signature in function.signatures() {
        out.push_str(&format!("{}::{signature}\n", module.alias));
    }
    out.push('\n');
    out.push_str(&function.text);
    out.push('\n');
    for example in &function.examples {
        out.push('\n');
        for line in example.lines() {
            out.push_str(format!("    {line}").trim_end());
            out.push('\n');
        }
    }
    out
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|letter| letter.is_alphanumeric() || *letter == '-').collect()
}
