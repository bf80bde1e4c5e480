//! Names: variables in their scopes, functions and what they take, members of modules, what is never used.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use durhai_stdlib::foreign;
use rhai::Position;

use super::code::Code;
use super::project::{File, Project, STEP_MODULES, own_functions};
use super::report::Report;
use super::tree::{Call, Function, Node, NodeKind, Tree};
use crate::calls::CALLS;
use crate::errors::suggest;

pub fn check(project: &Project<'_>, file: &File<'_>, tree: &Tree, report: &mut Report<'_>) {
    let mut names = Names {
        project,
        file,
        functions: own_functions(tree, false),
        report,
        scope: Vec::new(),
        in_function: false,
        top: top_level(tree),
        imports: BTreeMap::new(),
        globals: HashSet::new(),
        called: BTreeSet::new(),
    };
    if file.role.workflow && !file.role.module {
        names.declare("input", Position::NONE, What::Input);
    }
    names.block(&tree.body);
    // What functions see: the imports of the top level, and its constants as `global::NAME`.
    let top = std::mem::take(&mut names.scope);
    names.in_function = true;
    for function in &tree.functions {
        for param in &function.params {
            names.declare(param, Position::NONE, What::Param);
        }
        names.block(&function.body);
        names.leave(0);
    }
    names.scope = top;
    names.leave(0);
    names.unused(tree);
}

struct Names<'a, 'r, 'p> {
    project: &'a Project<'p>,
    file: &'a File<'p>,
    functions: BTreeMap<&'a str, Vec<&'a Function>>,
    report: &'a mut Report<'r>,
    scope: Vec<Variable>,
    in_function: bool,
    /// What the top level declares, for those who look for it in a function.
    top: BTreeMap<&'a str, bool>,
    /// Where each alias was imported, and whether it was used.
    imports: BTreeMap<String, (Position, bool)>,
    /// Constants that functions have used as `global::NAME`.
    globals: HashSet<String>,
    /// Functions that were called, or named.
    called: BTreeSet<String>,
}

struct Variable {
    name: String,
    at: Position,
    what: What,
    read: bool,
    written: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Input,
    Let,
    Constant,
    /// A constant that others see.
    Exported,
    Param,
    /// Of a `for`, a closure or a `catch`.
    Given,
}

/// What a top level declares, and whether it is a constant.
fn top_level(tree: &Tree) -> BTreeMap<&str, bool> {
    let declared = tree.body.iter().filter_map(|node| match &node.kind {
        NodeKind::Let { name, constant, .. } => Some((name.as_str(), *constant)),
        _ => None,
    });
    declared.collect()
}

impl<'a> Names<'a, '_, '_> {
    fn declare(&mut self, name: &str, at: Position, what: What) {
        if name == "input" && self.sees_input() && !matches!(what, What::Input | What::Param) {
            self.report.help(
                Code::ShadowedInput,
                at,
                "this hides the workflow's `input`",
                "choose another name, unless the input is not needed any more",
            );
        }
        self.scope.push(Variable { name: name.into(), at, what, read: false, written: false });
    }

    fn sees_input(&self) -> bool {
        !self.in_function && self.scope.iter().any(|variable| variable.what == What::Input)
    }

    /// Ends the scopes above a height, and tells which variables were never read.
    fn leave(&mut self, height: usize) {
        let ended: Vec<_> = self.scope.drain(height..).collect();
        for variable in ended {
            let silent = variable.name.starts_with('_') || variable.name == "WORKFLOW";
            let told = matches!(variable.what, What::Let | What::Constant);
            if variable.read || silent || !told || self.globals.contains(&variable.name) {
                continue;
            }
            let name = &variable.name;
            let noun = if variable.what == What::Constant { "constant" } else { "variable" };
            let message = match variable.written {
                true => format!("the {noun} `{name}` is set and never read"),
                false => format!("the {noun} `{name}` is never used"),
            };
            let help = format!("remove it, or call it `_{name}` if it is meant to be ignored");
            self.report.help(Code::UnusedVariable, variable.at, message, help);
        }
    }

    /// Statements in the scope that is there.
    fn block(&mut self, nodes: &'a [Node]) {
        nodes.iter().for_each(|node| self.node(node));
    }

    /// Statements in a scope of their own.
    fn scoped(&mut self, given: &[(&str, Position)], nodes: &'a [Node]) {
        let height = self.scope.len();
        for (name, at) in given {
            self.declare(name, *at, What::Given);
        }
        self.block(nodes);
        self.leave(height);
    }

    fn node(&mut self, node: &'a Node) {
        match &node.kind {
            NodeKind::Let { name, at, constant, exported, value } => {
                self.node(value);
                let what = match (constant, exported) {
                    (_, true) => What::Exported,
                    (true, _) => What::Constant,
                    _ => What::Let,
                };
                self.declare(name, *at, what);
            }
            NodeKind::Variable { path, name } => self.variable(node.at, path, name),
            NodeKind::Assign { target, value, operator } => {
                self.node(value);
                self.target(target, operator);
            }
            NodeKind::Call(call) => self.call(node.at, call),
            NodeKind::Closure { params, body } => {
                let given: Vec<_> = params.iter().map(|param| (param.as_str(), node.at)).collect();
                self.scoped(&given, body);
            }
            NodeKind::Block(body) => self.scoped(&[], body),
            NodeKind::If { condition, then, otherwise } => {
                self.node(condition);
                self.scoped(&[], then);
                self.scoped(&[], otherwise);
            }
            NodeKind::While { condition, body } => {
                condition.iter().for_each(|condition| self.node(condition));
                self.scoped(&[], body);
            }
            NodeKind::Do { body, condition, .. } => {
                self.scoped(&[], body);
                self.node(condition);
            }
            NodeKind::For { names, over, body } => {
                self.node(over);
                let given: Vec<_> = names.iter().map(|(name, at)| (name.as_str(), *at)).collect();
                self.scoped(&given, body);
            }
            NodeKind::Try { body, name, handler } => {
                self.scoped(&[], body);
                let given: Vec<_> = name.iter().map(|(name, at)| (name.as_str(), *at)).collect();
                self.scoped(&given, handler);
            }
            NodeKind::Import { path, alias } => {
                self.node(path);
                if let Some((alias, at)) = alias {
                    self.imports.entry(alias.clone()).or_insert((*at, false));
                }
            }
            NodeKind::Export(name) => self.variable(node.at, &[], name),
            NodeKind::Property(inner, name) => {
                self.node(inner);
                self.field(node.at, name);
            }
            _ => node.children().into_iter().for_each(|child| self.node(child)),
        }
    }

    // ---- variables

    fn variable(&mut self, at: Position, path: &[String], name: &str) {
        match path {
            [] => {
                if let Some(variable) = self.scope.iter_mut().rev().find(|variable| variable.name == name) {
                    variable.read = true;
                } else if self.functions.contains_key(name) {
                    self.called.insert(name.into());
                } else {
                    self.unknown_variable(at, name);
                }
            }
            [global] if global == "global" => {
                self.globals.insert(name.into());
                if self.top.get(name) != Some(&true) {
                    let help = "`global::` leads to the constants at the top level of the file";
                    self.report.help(Code::UnknownVariable, at, format!("there is no constant `{name}`"), help);
                }
            }
            [alias] => {
                if let Some(module) = self.module(at, alias) {
                    let Some(tree) = module.tree() else { return };
                    let exported = exports(tree);
                    if !exported.contains(&name) && !own_functions(tree, true).contains_key(name) {
                        let message = format!("the module {:?} exports no `{name}`", module.key);
                        let help = match near(name, exported.iter().copied()) {
                            Some(close) => format!("did you mean `{alias}::{close}`?"),
                            None => format!("in the module write `export const {name} = …`"),
                        };
                        self.report.help(Code::UnknownMember, at, message, help);
                    }
                }
            }
            _ => {}
        }
    }

    /// A field that values have in other languages, and that no map here has.
    fn field(&mut self, at: Position, name: &str) {
        if let Some(sentence) = foreign::field(name).filter(|_| !self.project.keys.contains(name)) {
            let message = format!("no map in these files has a field `{name}`: {sentence}");
            self.report.add(Code::ForeignField, at, message);
        }
    }

    /// What other languages have under a name, if this file could use what is said of it.
    fn foreign(&self, sentence: Option<&'static str>) -> Option<&'static str> {
        sentence
            .filter(|sentence| !self.file.role.step || !sentence.contains("use_step") && !sentence.contains("durabl"))
    }

    fn unknown_variable(&mut self, at: Position, name: &str) {
        if self.imports.contains_key(name) {
            let message = format!("`{name}` is a module: its functions are called `{name}::…(…)`");
            return self.report.add(Code::UnknownVariable, at, message);
        }
        if let Some(sentence) = self.foreign(foreign::variable(name)).filter(|_| !self.top.contains_key(name)) {
            return self.report.add(Code::UnknownVariable, at, format!("there is no `{name}` here: {sentence}"));
        }
        let message = format!("there is no variable `{name}` here");
        let help = match (self.in_function, self.top.get(name)) {
            (true, _) if name == "input" => "functions do not see the input: pass it as an argument".into(),
            (true, Some(true)) => format!("functions see constants of the file as `global::{name}`"),
            (true, Some(false)) => "functions do not see variables of the file: pass it as an argument".into(),
            (false, Some(_)) => "it is declared further down".into(),
            _ if name == "input" => "only workflows have an input; pass it as an argument".into(),
            _ => match near(name, self.scope.iter().map(|variable| variable.name.as_str())) {
                Some(close) => format!("did you mean `{close}`?"),
                None if self.project.native(self.file.role, name).is_some() => {
                    format!("to call the function write `{name}(…)`; to hand it on, `|x| {name}(x)`")
                }
                None => format!("declare it with `let {name} = …;`"),
            },
        };
        self.report.help(Code::UnknownVariable, at, message, help);
    }

    /// The left side of an assignment.
    fn target(&mut self, target: &'a Node, operator: &str) {
        let mut root = target;
        while let NodeKind::Property(inner, _) | NodeKind::Index(inner, _) = &root.kind {
            if let NodeKind::Index(_, by) = &root.kind {
                self.node(by);
            }
            root = inner;
        }
        let NodeKind::Variable { path, name } = &root.kind else { return self.node(root) };
        if !path.is_empty() {
            self.report.add(Code::ConstantAssigned, target.at, "what belongs to a module cannot be changed");
            return self.variable(root.at, path, name);
        }
        let Some(variable) = self.scope.iter_mut().rev().find(|variable| variable.name == *name) else {
            let help = match (operator, self.in_function && self.top.contains_key(name.as_str())) {
                (_, true) => "functions do not see variables of the file: give the new value back".into(),
                ("=", _) => format!("declare it first: `let {name} = …;`"),
                _ => format!("declare it first: `let {name} = 0;`"),
            };
            let message = format!("there is no variable `{name}` here");
            return self.report.help(Code::UnknownVariable, root.at, message, help);
        };
        variable.written = true;
        if matches!(variable.what, What::Constant | What::Exported | What::Input) {
            let noun = if variable.what == What::Input { "the input" } else { "a constant" };
            let help = format!("copy it first: `let copy = {name};`");
            let message = format!("`{name}` is {noun}, which cannot be changed");
            self.report.help(Code::ConstantAssigned, root.at, message, help);
        }
    }

    // ---- functions

    fn call(&mut self, at: Position, call: &'a Call) {
        // A method that changes its variable reads it too: its caller may look at what it gives.
        call.receiver.iter().chain(&call.args).for_each(|node| self.node(node));
        if call.operator || call.receiver.as_ref().is_some_and(|receiver| self.is_foreign(receiver)) {
            return;
        }
        match call.path.as_slice() {
            [] => self.plain_call(at, call),
            [global] if global == "global" => drop(self.called.insert(call.name.clone())),
            [alias] => self.module_call(at, alias, call),
            _ => {}
        }
        if let Some(receiver) = &call.receiver
            && CHANGING.contains(&call.name.as_str())
            && let NodeKind::Variable { path, name } = &receiver.kind
            && path.is_empty()
            && let Some(variable) = self.scope.iter().rev().find(|variable| variable.name == *name)
            && matches!(variable.what, What::Constant | What::Exported)
        {
            let message = format!("`{name}` is a constant, which `{}` cannot change", call.name);
            self.report.help(Code::ConstantAssigned, at, message, format!("copy it first: `let copy = {name};`"));
        }
    }

    fn plain_call(&mut self, at: Position, call: &Call) {
        let (name, count) = (call.name.as_str(), call.args.len());
        if name == "Fn" {
            if let Some(text) = call.args.first().and_then(Node::text) {
                self.called.insert(text.into());
                if !self.functions.contains_key(text) && self.project.native(self.file.role, text).is_none() {
                    let message = format!("there is no function `{text}`");
                    self.report.add(Code::UnknownFunction, call.args[0].at, message);
                }
            }
            return;
        }
        if let Some(own) = self.functions.get(name) {
            self.called.insert(name.into());
            let fits = own.iter().any(|function| function.params.len() == count);
            let native = self.project.native(self.file.role, name);
            if fits || native.is_some_and(|counts| counts.contains(&(count + usize::from(call.receiver.is_some())))) {
                return;
            }
            let there: Vec<_> = own.iter().map(|function| signature(function)).collect();
            return self.misfit(at, name, count, &there);
        }
        // Tests have functions of their own, which take the place of others.
        if self.file.role.test {
            return;
        }
        let natural = count + usize::from(call.receiver.is_some());
        match self.project.native(self.file.role, name) {
            Some(counts) if counts.contains(&natural) => {}
            // What a map holds may have any name.
            _ if call.receiver.is_some() && self.project.keys.contains(name) => {}
            Some(counts) => {
                let durable = CALLS.iter().find(|call| call.name == name).filter(|_| self.file.role.durable());
                let there: Vec<String> = match durable {
                    Some(call) => call.forms.iter().map(ToString::to_string).collect(),
                    None => counts.iter().map(|count| arguments(name, *count, call.receiver.is_some())).collect(),
                };
                self.misfit(at, name, count, &there);
            }
            None => self.unknown_function(at, call),
        }
    }

    /// `console` of `console.log(…)`, which has been told.
    fn is_foreign(&self, mut receiver: &Node) -> bool {
        while let NodeKind::Property(inner, _) = &receiver.kind {
            receiver = inner;
        }
        let NodeKind::Variable { path, name } = &receiver.kind else { return false };
        path.is_empty()
            && self.scope.iter().all(|variable| variable.name != *name)
            && (self.foreign(foreign::variable(name)).is_some() || self.imports.contains_key(name))
    }

    fn misfit(&mut self, at: Position, name: &str, count: usize, there: &[String]) {
        let arguments = if count == 1 { "argument" } else { "arguments" };
        let message = format!("`{name}` does not take {count} {arguments}");
        if let Some(sentence) = foreign::arguments(name).filter(|_| !self.functions.contains_key(name)) {
            return self.report.add(Code::WrongArguments, at, format!("{message}: {sentence}"));
        }
        self.report.help(Code::WrongArguments, at, message, format!("there is {}", there.join(", ")));
    }

    fn unknown_function(&mut self, at: Position, call: &Call) {
        let name = call.name.as_str();
        let message = match call.receiver {
            Some(_) => format!("there is no method `{name}`"),
            None => format!("there is no function `{name}`"),
        };
        let known = self.scope.iter().any(|variable| variable.name == name) && call.receiver.is_none();
        let sentence = match call.receiver {
            Some(_) => foreign::method(name),
            None => foreign::function(name),
        };
        if let Some(sentence) = self.foreign(sentence).filter(|_| !known) {
            return self.report.add(Code::UnknownFunction, at, format!("{message}: {sentence}"));
        }
        let variable = self.scope.iter_mut().rev().find(|variable| variable.name == name);
        let help = if let Some(variable) = variable.filter(|_| call.receiver.is_none()) {
            variable.read = true;
            Some(format!("`{name}` is a variable: a closure in it is called with `{name}.call(…)`"))
        } else if self.file.role.step && CALLS.iter().any(|call| call.name == name) {
            Some("durable calls are for workflows: a step does its work at once".into())
        } else {
            let natives = self.project.native_names(self.file.role);
            let known = CALLS.iter().map(|call| call.name).filter(|_| self.file.role.durable());
            let names = known.chain(self.functions.keys().copied()).chain(natives);
            nearest(name, names).map(|close| format!("did you mean `{close}`?"))
        };
        match help {
            Some(help) => self.report.help(Code::UnknownFunction, at, message, help),
            None => self.report.add(Code::UnknownFunction, at, message),
        }
    }

    fn module_call(&mut self, at: Position, alias: &str, call: &Call) {
        let Some(module) = self.module(at, alias) else { return };
        let Some(tree) = module.tree() else { return };
        let functions = own_functions(tree, true);
        match functions.get(call.name.as_str()) {
            Some(found) if found.iter().any(|function| function.params.len() == call.args.len()) => {}
            Some(found) => {
                let there: Vec<_> = found.iter().map(|function| format!("{alias}::{}", signature(function))).collect();
                self.misfit(at, &format!("{alias}::{}", call.name), call.args.len(), &there);
            }
            // A constant that holds a closure cannot be called this way either.
            None => {
                let message = format!("the module {:?} has no function `{}`", module.key, call.name);
                let private = tree.functions.iter().any(|function| function.name == call.name);
                let help = match near(&call.name, functions.keys().copied()) {
                    _ if private => format!("it has one that is `private`; remove that word in {}", module.path),
                    Some(close) => format!("did you mean `{alias}::{close}`?"),
                    None if functions.is_empty() => "it has no functions at all".into(),
                    None => format!("it has {}", functions.keys().copied().collect::<Vec<_>>().join(", ")),
                };
                self.report.help(Code::UnknownMember, at, message, help);
            }
        }
    }

    /// The module behind an alias, if it is known what is in it.
    fn module(&mut self, at: Position, alias: &str) -> Option<&'a File<'a>> {
        // Functions see the imports of the top level, wherever these stand; the scopes of imports inside of blocks are
        // not followed.
        if let Some((_, used)) = self.imports.get_mut(alias) {
            *used = true;
        }
        match self.project.module(self.file, alias) {
            Some(module) => module,
            None if self.file.role.step && STEP_MODULES.contains(&alias) => None,
            None if self.foreign(foreign::module(alias)).is_some() => {
                let sentence = foreign::module(alias).unwrap_or_default();
                self.report.add(Code::UnknownModule, at, format!("there is no `{alias}` here: {sentence}"));
                None
            }
            None => {
                let known = durhai_stdlib::NAMES.iter().find(|name| name.ends_with(&format!("/{alias}")));
                let help = match (known, near(alias, self.imports.keys().map(String::as_str))) {
                    (_, Some(close)) => format!("did you mean `{close}`?"),
                    (Some(name), _) => format!("at the top of the file write `import {name:?} as {alias};`"),
                    _ => format!("at the top of the file write `import \"lib/{alias}\" as {alias};`"),
                };
                self.report.help(Code::UnknownModule, at, format!("nothing is imported as `{alias}`"), help);
                None
            }
        }
    }

    fn unused(&mut self, tree: &'a Tree) {
        for (alias, (at, used)) in std::mem::take(&mut self.imports) {
            if !used && !alias.starts_with('_') {
                let message = format!("`{alias}` is imported and never used");
                self.report.help(Code::UnusedImport, at, message, "remove the import");
            }
        }
        let whole = self.file.role.workflow && !self.file.role.module;
        for function in &tree.functions {
            if (whole || function.private) && !self.called.contains(&function.name) && !function.name.starts_with('_') {
                let message = format!("the function `{}` is never called", function.name);
                self.report.help(Code::UnusedFunction, function.at, message, "remove it, or call it");
            }
        }
    }
}

/// Variables and constants that a module shows.
fn exports(tree: &Tree) -> Vec<&str> {
    let exported = tree.body.iter().filter_map(|node| match &node.kind {
        NodeKind::Let { name, exported: true, .. } => Some(name.as_str()),
        NodeKind::Export(name) => Some(name.as_str()),
        _ => None,
    });
    exported.collect()
}

fn signature(function: &Function) -> String {
    format!("{}({})", function.name, function.params.join(", "))
}

/// `split` with one argument, as a method with none.
fn arguments(name: &str, count: usize, method: bool) -> String {
    let count = if method { count.saturating_sub(1) } else { count };
    let front = if method { "." } else { "" };
    match count {
        0 => format!("{front}{name}()"),
        1 => format!("{front}{name} with 1 argument"),
        _ => format!("{front}{name} with {count} arguments"),
    }
}

/// What was probably meant. Among names of one or two letters anything is near.
fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    suggest::near(name, names.filter(|_| name.chars().count() > 2))
}

/// The nearest name; the first of the alphabet among equals, whatever order they come in.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let sorted: BTreeSet<&str> = names.collect();
    near(name, sorted.into_iter())
}

/// Methods that change what they are called on.
pub const CHANGING: &[&str] = &[
    "push",
    "pop",
    "shift",
    "insert",
    "append",
    "remove",
    "clear",
    "truncate",
    "chop",
    "drain",
    "retain",
    "splice",
    "sort",
    "sort_by",
    "sort_desc",
    "reverse",
    "dedup",
    "set",
    "pad",
    "mixin",
    "fill_with",
    "shuffle",
];
