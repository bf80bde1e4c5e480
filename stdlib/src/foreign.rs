//! Words that people bring from other languages, each with one sentence that says how it is done here. For `check`, for texts
//! that do not load, and for scripts that run.

mod syntax;

pub use self::syntax::explain;

/// Names of functions, as in `str(x)`.
pub fn function(name: &str) -> Option<&'static str> {
    find(FUNCTIONS, name)
}

/// Names of methods, as in `x.toUpperCase()`.
pub fn method(name: &str) -> Option<&'static str> {
    find(METHODS, name)
}

/// Names that stand for something by themselves, or have functions: `null`, `console`.
pub fn variable(name: &str) -> Option<&'static str> {
    find(VARIABLES, name)
}

/// Names of modules, as in `String::from(x)`.
pub fn module(name: &str) -> Option<&'static str> {
    find(MODULES, name)
}

/// Names of functions and methods that take other arguments than elsewhere.
pub fn arguments(name: &str) -> Option<&'static str> {
    find(ARGUMENTS, name)
}

/// Fields that values have elsewhere: `list.length`.
pub fn field(name: &str) -> Option<&'static str> {
    find(FIELDS, name)
}

type Table = &'static [(&'static [&'static str], &'static str)];

fn find(table: Table, name: &str) -> Option<&'static str> {
    table.iter().find(|(names, _)| names.contains(&name)).map(|(_, sentence)| *sentence)
}

const NOTHING: &str = "nothing is written `()`";
const PRINT: &str = "`print(value)` writes a line to the run's log";
const WAIT: &str = "`sleep(\"1s\")` waits, durably";
const TEXT: &str = "`x.to_string()` makes text of a value, and so does `${x}` in a string in backticks";
const LENGTH: &str = "`.len()` tells how many there are";
const SORTED: &str = "`list.sort()` sorts a list in place";

const FUNCTIONS: Table = &[
    (&["println", "printf", "puts", "echo", "fmt", "sprintf"], PRINT),
    (&["str", "String", "repr", "string"], TEXT),
    (
        &["int", "parseInt", "Integer", "atoi", "i64"],
        "`parse_int(text)` reads a whole number, `x.to_int()` cuts a float to one",
    ),
    (
        &["float", "parseFloat", "Number", "double", "f64"],
        "`parse_float(text)` reads a number, `x.to_float()` makes a float of a whole one",
    ),
    (&["bool", "Boolean"], "a comparison gives a boolean, like `x != ()` or `x > 0`"),
    (&["list", "tuple", "set", "array"], "a list is written `[1, 2]`"),
    (&["dict", "map", "make"], "a map is written `#{ key: value }`"),
    (&["sorted"], SORTED),
    (&["sum"], "`list.reduce(|sum, x| sum + x, 0)` adds up"),
    (&["enumerate"], "`for (x, i) in list` has the index as well"),
    (&["reversed"], "`list.reverse()` turns a list round in place"),
    (&["filter"], "`list.filter(|x| …)` is a method of the list"),
    (&["any"], "`list.some(|x| …)` tells whether one fits"),
    (&["isinstance", "typeof", "type"], "`type_of(x)` gives the name of a value's type"),
    (&["setTimeout", "setInterval", "delay"], WAIT),
    (&["fetch", "axios", "request"], "a step asks the network: `use_step(\"http.get\", #{ url: \"…\" })`"),
    (&["open", "readFile"], "a step reads files: `use_step(\"file.read\", #{ path: \"…\" })`"),
    (&["getenv"], "a step reads the environment: `use_step(\"env.get\", …)`"),
    (
        &["require", "include", "__import__"],
        "`import \"lib/money\" as money;` at the top of the file takes a module in",
    ),
    (&["assert"], "`if !condition { throw \"why\"; }` makes sure of something"),
    (
        &["Error", "Exception", "panic", "raise", "die"],
        "an error is thrown as a value: `throw \"why\";` or `throw #{ message: \"why\" };`",
    ),
    (&["Some", "Ok"], "a value stands by itself, and what is not there is `()`"),
    (&["Err"], "an error is thrown as a value: `throw \"why\";`"),
    (&["isNaN"], "`x.is_nan()` tells"),
    (&["format"], "a string in backticks fills values in: `${x} of ${y}`"),
    (&["gather", "all"], "`parallel([|| …, || …])` runs closures at the same time and gives their values"),
];

const METHODS: Table = &[
    (&["toUpperCase", "toUpper", "to_uppercase", "upper", "upcase", "uppercase"], "`.to_upper()` does that"),
    (&["toLowerCase", "toLower", "to_lowercase", "lower", "downcase", "lowercase"], "`.to_lower()` does that"),
    (&["length", "size", "count"], LENGTH),
    (
        &["forEach", "each"],
        "`for x in list { … }` goes through a list, and `foreach(list, |x| …)` makes durable calls for each",
    ),
    (
        &["includes", "has", "hasOwnProperty", "containsKey", "has_key", "contains_key", "include?"],
        "`x in list` tells whether it is there",
    ),
    (&["indexOf", "findIndex", "index"], "`.index_of(x)` finds where it is, and gives -1 if it is not there"),
    (&["substring", "substr"], "`text.sub_string(from, length)` takes a part"),
    (&["slice"], "`list.extract(from, length)` takes a part of a list, `text.sub_string(from, length)` one of a text"),
    (&["concat"], "`a + b` puts two lists or texts together"),
    (&["startsWith", "startswith"], "`.starts_with(text)` tells"),
    (&["endsWith", "endswith"], "`.ends_with(text)` tells"),
    (
        &["strip", "trimStart", "trimEnd", "lstrip", "rstrip", "trim_start", "trim_end"],
        "`.trim()` takes the blanks off both ends of the variable itself",
    ),
    (&["toString", "to_s", "String", "to_str"], TEXT),
    (&["push_back", "add", "append_item", "appendChild"], "`list.push(x)` adds an element at the end"),
    (&["unshift", "push_front", "prepend"], "`list.insert(0, x)` adds an element at the beginning"),
    (&["put"], "`map[key] = value` puts a value in"),
    (&["items", "entries", "iteritems"], "`for key in map.keys() { … map[key] … }` goes through a map"),
    (
        &["unwrap", "expect", "unwrap_or", "unwrap_or_default", "get_or_insert"],
        "a value is there or it is `()`, and `x ?? other` puts another in its place",
    ),
    (&["clone", "copy", "to_owned", "deepcopy"], "values are copied when they are assigned"),
    (&["iter", "into_iter", "iter_mut", "collect", "to_vec"], "`for x in list` and `list.map(|x| …)` need no iterator"),
    (&["equals", "eq"], "`==` compares values"),
    (&["charAt"], "`text[0]` is the first character"),
    (&["replaceAll"], "`.replace(what, with)` replaces all, in the variable itself"),
    (&["every"], "`.all(|x| …)` tells whether all fit"),
    (&["any"], "`.some(|x| …)` tells whether one fits"),
    (&["sorted", "toSorted"], SORTED),
    (&["isEmpty", "empty", "empty?"], "`.is_empty()` tells"),
    (
        &["then", "finally"],
        "calls wait by themselves: `let x = use_step(\"…\");` has the value, and `try … catch (e) …` the error",
    ),
    (&["format"], "a string in backticks fills values in: `${x} of ${y}`"),
    (&["flatMap"], "`import \"std/batch\"` has what makes lists of lists, and a `for` with `+=` puts them together"),
    (&["toFixed"], "`import \"std/text\"` has what writes numbers"),
    (&["parse"], "`parse_int(text)` and `parse_float(text)` read numbers"),
];

const VARIABLES: Table = &[
    (&["null", "undefined", "None", "nil", "NULL", "nullptr", "Null", "Nothing"], NOTHING),
    (&["True", "TRUE"], "it is written `true`"),
    (&["False", "FALSE"], "it is written `false`"),
    (
        &["console", "System", "fmt", "logging", "logger", "stdout"],
        "`print(value)` and `log(\"warn\", \"…\")` write to the run's log",
    ),
    (&["JSON", "json"], "`parse_json(text)` reads JSON, and `value.to_json()` writes it"),
    (
        &["Math", "math"],
        "functions and methods stand by themselves, like `max(a, b)`, `x.floor()`, `x.sqrt()` and `rand_float()`",
    ),
    (&["random", "Random"], "`rand(1..7)`, `rand_float()` and `list.shuffle()` draw from the run's seed"),
    (
        &["Date", "datetime", "moment"],
        "`now()` is the run's clock in Unix milliseconds, and `import \"std/time\" as time;` has the calendar",
    ),
    (&["time"], "`sleep(5)` waits, `now()` is the run's clock, and `import \"std/time\" as time;` has the calendar"),
    (&["Promise", "asyncio"], "`parallel([|| …, || …])` runs closures at the same time and gives their values"),
    (&["Thread", "tokio"], "`task(|| …)` begins something beside, and `sleep(\"1s\")` waits"),
    (&["Object"], "a map has `.keys()`, `.values()` and `.len()`"),
    (&["Array", "List", "Vec"], "a list is written `[1, 2]`, and `type_of(x) == \"array\"` tells one"),
    (&["Number", "Integer"], "`parse_int(text)` and `parse_float(text)` read numbers"),
    (
        &["process", "os", "sys", "Deno"],
        "a step reaches what is outside, like `use_step(\"env.get\", …)` and `use_step(\"exec.run\", …)`",
    ),
    (&["fs", "path", "Path"], "a step reaches files: `use_step(\"file.read\", #{ path: \"…\" })`"),
    (&["http", "requests", "axios", "urllib"], "a step asks the network: `use_step(\"http.get\", #{ url: \"…\" })`"),
    (&["self"], "functions get what they need as arguments"),
    (&["Infinity", "NaN", "inf", "nan"], "numbers that are none cannot be stored, so there is no word for them"),
    (&["crypto", "hashlib"], "`import \"std/hash\" as hash;` has sha256, hmac and base64, and `uuid()` makes an id"),
    (&["pass"], "an empty block is `{ }`"),
];

const MODULES: Table = &[
    (&["String", "str"], TEXT),
    (&["Vec"], "a list is written `[1, 2]`"),
    (&["HashMap", "BTreeMap", "Map"], "a map is written `#{ key: value }`"),
    (&["std", "fs", "io", "File"], "a step reaches files: `use_step(\"file.read\", #{ path: \"…\" })`"),
    (&["Math", "rand", "random"], "functions stand by themselves, like `max(a, b)` and `rand(1..7)`"),
    (&["console"], PRINT),
];

const ARGUMENTS: Table = &[
    (&["range"], "`0..10` is a range, and so is `range(0, 10)`"),
    (&["print", "debug"], "it takes one value, and a string in backticks puts several together: `${a} ${b}`"),
    (&["join"], "`import \"std/text\" as text;` has `text::join(list, \", \")`"),
    (&["pop"], "`list.remove(0)` takes out the element at a place, `list.pop()` the last one"),
    (&["get"], "`map.key ?? other` gives something else where nothing is"),
    (&["max", "min"], "it compares two values, and `list.reduce(|a, b| max(a, b), list[0])` all of a list"),
    (&["append"], "`list.push(x)` adds one element, `list.append(more)` all of another list"),
    (&["sort"], "`list.sort(|a, b| a.n - b.n)` takes a closure that compares"),
];

const FIELDS: Table = &[(&["length", "size", "count"], LENGTH)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_one_sentence() {
        for table in [FUNCTIONS, METHODS, VARIABLES, MODULES, ARGUMENTS, FIELDS] {
            let mut names: Vec<_> = table.iter().flat_map(|(names, _)| names.iter()).collect();
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "twice in one table");
            assert!(table.iter().all(|(_, sentence)| !sentence.ends_with('.') && sentence.len() < 140));
        }
    }
}
