//! Examples as scripts that check themselves.

use rhai::Engine;

const MARK: &str = "// => ";

/// A script that does what an example does and gives an array of `[found, expected]`, one for each mark.
pub fn script(example: &str) -> Result<String, String> {
    let parser = {
        let mut engine = Engine::new_raw();
        engine.set_max_expr_depths(0, 0);
        engine
    };
    let mut out = String::from("let checks_ = [];\n");
    let mut open = String::new();
    let mut marks = 0;
    for line in example.lines() {
        let Some(at) = line.find(MARK) else {
            open.push_str(line);
            open.push('\n');
            if open.trim_end().ends_with([';', '}']) && parser.compile(&open).is_ok() {
                // The value of a statement is not wanted.
                out.push_str(&open);
                open.clear();
            }
            continue;
        };
        open.push_str(&line[..at]);
        let code = std::mem::take(&mut open);
        let code = code.trim();
        let expected = line[at + MARK.len()..].trim();
        if code.is_empty() {
            return Err(format!("there is nothing in front of {line:?}"));
        }
        match expected.strip_prefix("throws ") {
            Some(thrown) => out.push_str(&format!(
                "checks_.push([{{ let caught = \"nothing was thrown\"; try {{ {code}; }} catch (thrown) {{ caught = thrown; }} \
                 caught }}, {thrown}]);\n"
            )),
            None => out.push_str(&format!("checks_.push([{{ {code} }}, {expected}]);\n")),
        }
        marks += 1;
    }
    if !open.trim().is_empty() {
        return Err(format!("nothing says what {:?} gives", open.trim()));
    }
    match marks {
        0 => Err("there is no `// => VALUE` in it".into()),
        _ => Ok(out + "checks_\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_become_checks() {
        let script = script("let a = [1];\na.push(2);\na   // => [1, 2]\nf(\n  a\n)\n  // => throws \"x\"").unwrap();
        let engine = Engine::new();
        let script = format!("fn f(a) {{ throw \"x\"; }}\n{script}");
        let checks: rhai::Array = engine.eval(&script).unwrap_or_else(|error| panic!("{error}\n{script}"));
        assert_eq!(format!("{checks:?}"), r#"[[[1, 2], [1, 2]], ["x", "x"]]"#);
    }

    #[test]
    fn an_example_that_says_nothing_is_refused() {
        assert!(script("f(1)").unwrap_err().contains("nothing says"));
        assert!(script("let a = 1;").unwrap_err().contains("there is no"));
        assert!(script("// => 1").unwrap_err().contains("nothing in front"));
    }
}
