//! Functions that another program adds to its scripts (`extend_scripts`), for those who cannot load that program: they are known by
//! name, and may have a stand-in written in Rhai.

use std::any::TypeId;
use std::rc::Rc;
use std::sync::Arc;

use durhai_engine::Extension;
use durhai_engine::rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, NativeCallContext, Position, Scope};

/// A function that scripts find in another program. Displays as `price/2`.
///
/// ```
/// use durhai::check::AssumedFunction;
///
/// let price = AssumedFunction::parse("price/2")?;
/// assert_eq!((price.name.as_str(), price.arguments), ("price", 2));
/// assert!(AssumedFunction::parse("price").is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssumedFunction {
    pub name: String,
    /// How many it takes.
    pub arguments: usize,
    /// What is called in its place; without one a call fails, and says so.
    pub stand_in: Option<StandIn>,
}

/// A text with a function that stands for another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandIn {
    /// For messages.
    pub file: String,
    pub source: Arc<str>,
    /// The function in there, which takes as many arguments.
    pub function: String,
}

/// More arguments are those of none that one would call.
const MOST: usize = 16;

impl AssumedFunction {
    /// `price/2`: its name and how many arguments it takes.
    ///
    /// # Errors
    /// What is wrong with the text, and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} {why}: write NAME/ARGUMENTS, like price/2");
        let (name, count) = text.split_once('/').ok_or_else(|| wrong("does not say how many arguments it takes"))?;
        let arguments = count.parse().map_err(|_| wrong("does not say how many arguments it takes"))?;
        AssumedFunction::new(name, arguments)
    }

    /// # Errors
    /// It is no name of a function, or these are too many arguments.
    pub fn new(name: &str, arguments: usize) -> Result<Self, String> {
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
        if !first || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(format!("{name:?} is no name of a function"));
        }
        if arguments > MOST {
            return Err(format!("{name} takes {arguments} arguments; {MOST} are the most"));
        }
        Ok(AssumedFunction { name: name.into(), arguments, stand_in: None })
    }

    /// With a function written in Rhai in its place: the one of the same name in this text.
    ///
    /// # Errors
    /// The text does not parse, or has no such function with so many arguments.
    pub fn stand_in(self, file: &str, source: &str) -> Result<Self, String> {
        let function = self.name.clone();
        self.stand_in_by(file, source, &function)
    }

    /// The same, where the function in the text has another name.
    ///
    /// # Errors
    /// As for [`stand_in`](Self::stand_in).
    pub fn stand_in_by(self, file: &str, source: &str, function: &str) -> Result<Self, String> {
        let source = crate::text::without_bom(source);
        let ast = Engine::new_raw().compile(source).map_err(|error| format!("{file}: {error}"))?;
        let mut all = ast.iter_fn_def();
        if !all.any(|known| known.name == function && known.params.len() == self.arguments) {
            return Err(format!(
                "{file} has no function {function} with {} arguments, to stand for {self}",
                self.arguments
            ));
        }
        let stand_in = StandIn { file: file.into(), source: source.into(), function: function.into() };
        Ok(AssumedFunction { stand_in: Some(stand_in), ..self })
    }

    /// What makes it known to the engine of workflow scripts.
    pub(crate) fn extension(self) -> Extension {
        Arc::new(move |engine| self.register(engine))
    }

    fn register(&self, engine: &mut Engine) {
        let types = vec![TypeId::of::<Dynamic>(); self.arguments];
        let ast = self.stand_in.as_ref().map(|stand_in| (stand_in.function.clone(), compiled(engine, stand_in)));
        let missing = format!(
            "{self} is a function of the program that these scripts belong to, and is not here: write one in its place, in \
             durhai.toml as [functions] {} = \"FILE.rhai\", or in a test as `fn function_{}(…)`",
            self.name, self.name
        );
        let call = move |context: NativeCallContext<'_>, arguments: &mut [&mut Dynamic]| {
            let failed = |text: String| -> Box<EvalAltResult> {
                EvalAltResult::ErrorRuntime(text.into(), Position::NONE).into()
            };
            match &ast {
                None => Err(failed(missing.clone())),
                Some((_, Err(wrong))) => Err(failed(wrong.clone())),
                Some((function, Ok(ast))) => {
                    let arguments: Vec<Dynamic> = arguments.iter().map(|argument| (**argument).clone()).collect();
                    let options = CallFnOptions::new().eval_ast(false);
                    let engine = context.engine();
                    engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), ast, function, arguments)
                }
            }
        };
        engine.register_raw_fn(&self.name, types, call);
    }
}

fn compiled(engine: &Engine, stand_in: &StandIn) -> Result<Rc<AST>, String> {
    let mut ast = engine.compile(&*stand_in.source).map_err(|error| format!("{}: {error}", stand_in.file))?;
    ast.set_source(stand_in.file.as_str());
    Ok(Rc::new(ast))
}

impl std::fmt::Display for AssumedFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, good) in [
            ("price/2", true),
            ("_x/0", true),
            ("price", false),
            ("price/", false),
            ("price/-1", false),
            ("price/17", false),
            ("/2", false),
            ("a.b/1", false),
            ("1a/1", false),
        ] {
            assert_eq!(AssumedFunction::parse(text).is_ok(), good, "{text}");
        }
        let price = AssumedFunction::parse("price/2").expect("it parses");
        for (source, good) in [
            ("fn price(a, b) { a }", true),
            ("fn price(a) { a }", false),
            ("fn other(a, b) {}", false),
            ("fn price(", false),
        ] {
            assert_eq!(price.clone().stand_in("s.rhai", source).is_ok(), good, "{source}");
        }
    }
}
