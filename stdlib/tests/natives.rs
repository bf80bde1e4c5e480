//! The library under hostile and mistaken use: what is too much is refused before it is made, and messages say what was
//! expected and what was found.

use std::time::{Duration, Instant};

use durhai_stdlib::{PURE, register, source};
use rhai::module_resolvers::StaticModuleResolver;
use rhai::{Dynamic, Engine, Module, Scope};

fn engine(limit: impl FnOnce(&mut Engine)) -> Engine {
    let mut engine = Engine::new();
    engine.set_max_expr_depths(64, 64).set_max_call_levels(64);
    register(&mut engine);
    limit(&mut engine);
    let mut modules = StaticModuleResolver::new();
    for name in PURE {
        let text = source(name.trim_start_matches("std/")).expect("a text");
        let ast = engine.compile(text).expect("it compiles");
        modules.insert(*name, Module::eval_ast_as_new(Scope::new(), &ast, &engine).expect("it loads"));
    }
    engine.set_module_resolver(modules);
    engine
}

/// What an expression gives, or what it throws, as text.
fn eval(engine: &Engine, expression: &str) -> String {
    let imports: String =
        PURE.iter().map(|name| format!("import {name:?} as {};", name.trim_start_matches("std/"))).collect();
    let script =
        format!("{imports} let r = (); try {{ r = {{ {expression} }}; }} catch (e) {{ r = `throws ${{e}}`; }} r");
    let began = Instant::now();
    let result =
        engine.eval::<Dynamic>(&script).map_or_else(|error| format!("fails {error}"), |value| value.to_string());
    assert!(began.elapsed() < Duration::from_secs(20), "{expression} took {:?}", began.elapsed());
    result
}

#[track_caller]
fn all(engine: &Engine, cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|(expression, expected)| {
            let found = eval(engine, expression);
            (found != *expected).then(|| format!("{expression}\n   found {found}\nexpected {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn too_much_is_refused_before_it_is_made() {
    let engine = engine(|engine| {
        engine.set_max_string_size(1_000).set_max_array_size(20).set_max_map_size(20);
    });
    all(
        &engine,
        &[
            (
                "text::pad_left(7, 1000000000000)",
                "throws text::pad_left: the width must be a whole number from 0 to 1000000, found 1000000000000",
            ),
            (
                "text::repeat(\"ab\", 9223372036854775807)",
                "throws text::repeat: the result would have 18446744073709551614 bytes, the limit is 1000",
            ),
            ("text::repeat(\"ab\", 501)", "throws text::repeat: the result would have 1002 bytes, the limit is 1000"),
            (
                "text::lines(text::repeat(\"\\n\", 30))",
                "throws text::lines: the result would have more than 20 elements, which is the limit",
            ),
            (
                "text::words(text::repeat(\"a \", 30))",
                "throws text::words: the result would have more than 20 elements, which is the limit",
            ),
            (
                "let a = text::repeat(\"a\", 19); text::join([a, a, a, a, a, a, a, a, a, a, a], text::repeat(\"-\", 100))",
                "throws text::join: the result would have 1090 bytes, the limit is 1000",
            ),
            (
                "text::fill(text::repeat(\"{a}\", 50), #{ a: text::repeat(\"b\", 100) })",
                "throws text::fill: the result would have 1100 bytes, the limit is 1000",
            ),
            (
                "text::indent(text::repeat(\"a\\n\", 100), text::repeat(\" \", 100))",
                "throws text::indent: the result would have 10200 bytes, the limit is 1000",
            ),
            (
                "text::escape_html(text::repeat(\"'\", 500))",
                "throws text::escape_html: the result would have 2500 bytes, the limit is 1000",
            ),
            (
                "text::url_encode(text::repeat(\" \", 500))",
                "throws text::url_encode: the result would have 1500 bytes, the limit is 1000",
            ),
            (
                "text::parse_csv(text::repeat(\"a,\", 30))",
                "throws text::parse_csv: the result would have more than 20 elements, which is the limit",
            ),
            (
                "json::parse(\"[\" + text::repeat(\"0,\", 30) + \"0]\")",
                "throws json::parse: it has more than 20 elements, which is the limit at line 1 column 43",
            ),
            (
                "json::parse(text::repeat(\"[\", 100) + text::repeat(\"]\", 100))",
                "throws json::parse: it nests more than 64 levels deep at line 1 column 65",
            ),
            (
                "json::stringify(text::repeat(\"\\\"\", 600))",
                "throws json::stringify: the result would have 1202 bytes, the limit is 1000",
            ),
            ("json::set([], \"[99999999]\", 1)", "throws json::set: /99999999 is no place in an array of 0 elements"),
            (
                "hash::hex(text::repeat(\"a\", 600))",
                "throws hash::hex: the result would have 1200 bytes, the limit is 1000",
            ),
            (
                "text::number(1, #{ decimals: 1000000 })",
                "throws text::number: decimals must be a whole number from 0 to 30, found 1000000",
            ),
            (
                "time::format(0, \"%999999d\").len() < 1000",
                "throws time::format: the pattern \"%999999d\" is wrong: strftime formatting failed: parsed width is too big, max is 255",
            ),
        ],
    );
}

#[test]
fn hostile_patterns_and_texts_take_linear_time() {
    let engine = engine(|_| ());
    all(
        &engine,
        &[
            ("regex::is_match(text::repeat(\"a\", 1048576), `^(a|aa)+$`)", "true"),
            (
                "regex::is_match(text::repeat(\"a\", 1048576) + \"b\", `a`)",
                "throws regex::is_match: the text has 1048577 bytes, the limit is 1048576; take it in pieces",
            ),
            ("regex::find(text::repeat(\"ab\", 100000), `(?:a|b)*a(?:a|b){12}c`)", ""),
            (
                "regex::is_match(\"a\", text::repeat(\"a\", 1001))",
                &format!(
                    "throws regex::is_match: the pattern must be a string of at most 1000 bytes, found \"{}…\"",
                    "a".repeat(60)
                ),
            ),
            (
                "regex::is_match(text::repeat(\"ab\", 500000), `(?:[a-m]?[b-y]){900}\\b\\B`)",
                "throws regex::is_match: a pattern of 1800 places takes too long on a text of 1000000 bytes: their product may be 67108864; take the text in pieces",
            ),
            ("regex::is_match(text::repeat(\"ab\", 18000), `(?:[a-m]?[b-y]){900}\\b\\B`)", "false"),
            ("regex::is_match(\"ann@example.org\", `^[\\w.+-]+@[\\w-]+(\\.[\\w-]+)*\\.\\w{2,10}$`)", "true"),
            ("regex::is_match(\"a\", `(`)", "throws regex::is_match: the pattern \"(\" is wrong: unclosed group"),
            (
                "regex::is_match(\"a\", `(a)\\1`)",
                "throws regex::is_match: the pattern \"(a)\\\\1\" is wrong: backreferences are not supported",
            ),
            ("regex::find_all(\"baaac\", `a*`)", r#"["", "aaa", ""]"#),
            ("regex::replace(\"äöü\", ``, \"-\")", "-ä-ö-ü-"),
            ("regex::split(\"\", `,`)", r#"[""]"#),
            ("text::wrap(text::repeat(\"a\", 1000000), 1).len()", "1999999"),
            (
                "text::slug(text::repeat(\"a\", 100000))",
                "throws text::slug: the text has 100000 bytes, the limit is 65536",
            ),
            (
                "schema::is_valid(1, #{ pattern: text::repeat(\"a\", 70000) })",
                "throws schema::check: the schema is none: the schema has 70014 bytes as JSON, the limit is 65536",
            ),
        ],
    );
}

#[test]
fn mistakes_are_named() {
    let engine = engine(|_| ());
    all(
        &engine,
        &[
            ("text::upper([])", "throws text::upper: the text must be a string, found an array"),
            ("text::upper(())", "throws text::upper: the text must be a string, found ()"),
            ("__text_case(\"swap\", \"a\")", "throws text::swap: there is no such case"),
            ("text::fill(\"{a}\", 5)", "throws text::fill: the values must be a map, found 5"),
            ("text::fill(\"{a\", #{})", "throws text::fill: a \"{\" has no partner in \"{a\"; {{ is the letter itself"),
            ("text::fill(\"a}\", #{})", "throws text::fill: a \"}\" has no partner in \"a}\"; }} is the letter itself"),
            ("text::join(5, \",\")", "throws text::join: the values must be an array, found 5"),
            (
                "text::join([|| 1], \",\")",
                "throws text::join: element 0 must be null, a boolean, a number, a string, an array or a map, found a function",
            ),
            ("text::parse_csv(`a,\"b`)", "throws text::parse_csv: the quote that opens in line 1 is not closed"),
            (
                "text::parse_csv(`\"a\"b`)",
                "throws text::parse_csv: 'b' stands behind the closing quote of a field in line 1",
            ),
            (
                "text::parse_csv(\"a,b\\n1\\n\", #{ header: true })",
                "throws text::parse_csv: row 1 has 1 fields, the header has 2",
            ),
            (
                "text::parse_csv(\"a\", #{ seperator: \";\" })",
                "throws text::parse_csv has no option `seperator`; there are: separator, header",
            ),
            ("text::csv(\"a\\nb\")", "throws text::csv: found 2 lines where one was expected; parse_csv reads many"),
            (
                "text::csv(\"a\", \"::\")",
                "throws text::csv: the separator must be one character, no quote and no line end, found \"::\"",
            ),
            ("text::number(1.0 / 0.0)", "throws text::number: the number must be a finite number, found inf"),
            ("text::url_decode(\"%zz\")", "throws text::url_decode: a % without two hex digits behind it in \"%zz\""),
            ("text::url_decode(\"%ff\")", "throws text::url_decode: what it says is no UTF-8 text"),
            (
                "text::truncate(\"abcdef\", 1, \"...\")",
                "throws text::truncate: the width 1 has no room for the ending \"...\"",
            ),
            ("json::get(#{}, 5)", "throws json::get: the path must be a string, found 5"),
            (
                "json::get(#{}, \"a..b\")",
                "throws json::get: \"a..b\" is no path: a key in it is empty; write it like \"/items/0/sku\" or \"items[0].sku\"",
            ),
            (
                "json::get(#{}, \"a[x]\")",
                "throws json::get: \"a[x]\" is no path: what stands in `[` and `]` must be an index; write it like \"/items/0/sku\" or \"items[0].sku\"",
            ),
            (
                "json::set(#{ a: 5 }, \"a.b\", 1)",
                "throws json::set: what /a/b leads into must be a map or an array, found 5",
            ),
            (
                "json::stringify(#{ a: [blob(2)] })",
                "throws json::stringify: the value at .a[0] must be null, a boolean, a number, a string, an array or a map, found a blob",
            ),
            ("json::stringify(0.0 / 0.0)", "throws json::stringify: the value is NaN, which is not JSON"),
            ("hash::sha256(5)", "throws hash::sha256: the data must be a string or a blob, found 5"),
            (
                "hash::sha256(\"a\", \"base32\")",
                "throws hash::sha256: the encoding must be \"hex\", \"base64\", \"base64url\" or \"blob\", found \"base32\"",
            ),
            (
                "hash::base64_decode(\"/w==\")",
                "throws hash::base64_decode: the bytes are no UTF-8 text; hash::base64_decode_blob gives them as they are",
            ),
            ("hash::hex_decode(\"abc\")", "throws hash::hex_decode: \"abc\" is no hex: it has an odd number of digits"),
            ("hash::hex_decode(\"xy\")", "throws hash::hex_decode: \"xy\" is no hex: a character is no digit of it"),
            (
                "time::parse(\"tomorrow\")",
                "throws time::parse: \"tomorrow\" is no time; expected one like \"2026-03-01\", \"2026-03-01T09:30:00\", \"2026-03-01T09:30:00+01:00\" or \"Sun, 01 Mar 2026 09:30:00 GMT\" (time::parse_as takes a pattern)",
            ),
            (
                "time::iso(0, \"Europe/Berln\")",
                "throws time::iso: there is no time zone \"Europe/Berln\"; did you mean \"Europe/Berlin\"?",
            ),
            (
                "time::iso(\"x\")",
                "throws time::iso: the time must be Unix milliseconds between the years -9999 and 9999, found \"x\"",
            ),
            (
                "time::iso(9223372036854775807)",
                "throws time::iso: the time must be Unix milliseconds between the years -9999 and 9999, found 9223372036854775807",
            ),
            (
                "time::add(0, #{ fortnights: 1 })",
                "throws time::add has no option `fortnights`; there are: years, months, weeks, days, business_days, hours, minutes, seconds, milliseconds",
            ),
            ("time::add(0, #{ years: 20000 })", "throws time::add: the result is not between the years -9999 and 9999"),
            (
                "time::sub(0, #{ hours: -9223372036854775807 })",
                "throws time::sub: the result is not between the years -9999 and 9999",
            ),
            (
                "time::add(0, #{ business_days: 100000 })",
                "throws time::add: business_days must be a whole number to 10000, found 100000",
            ),
            (
                "time::start_of(0, \"fortnight\")",
                "throws time::start_of: the unit must be \"second\", \"minute\", \"hour\", \"day\", \"week\", \"month\", \"quarter\" or \"year\", found \"fortnight\"",
            ),
            ("time::of(#{ month: 2 })", "throws time::of: the year is missing"),
            (
                "schema::check(1, 5)",
                "throws schema::check: the schema must be a JSON Schema like #{ type: \"object\" }, found 5",
            ),
            ("batch::chunks(5, 2)", "throws batch::chunks: the array must be an array, found 5"),
            ("batch::each([1], 2, 5)", "throws batch::each: the work must be a closure like |x| …, found 5"),
            ("batch::each([1], \"2\", |x| x)", "throws batch::chunks: the size must be a whole number from 1, found 2"),
        ],
    );
}

#[test]
fn calendars_and_clocks_that_change() {
    let engine = engine(|_| ());
    let berlin = |text: &str| format!("time::iso(time::parse(\"{text}\", \"Europe/Berlin\"), \"Europe/Berlin\")");
    all(
        &engine,
        &[
            // 02:30 does not exist on that day; on the other it comes twice.
            (&berlin("2026-03-29T02:30"), "2026-03-29T03:30:00+02:00"),
            (&berlin("2026-10-25T02:30"), "2026-10-25T02:30:00+02:00"),
            (
                "time::difference(time::parse(\"2026-03-28T12:00\", \"Europe/Berlin\"), time::parse(\"2026-03-29T12:00\", \"Europe/Berlin\"), \"days\", \"Europe/Berlin\")",
                "1",
            ),
            (
                "time::difference(time::parse(\"2026-03-28T12:00\", \"Europe/Berlin\"), time::parse(\"2026-03-29T12:00\", \"Europe/Berlin\"), \"hours\")",
                "23",
            ),
            (
                "time::iso(time::start_of(time::parse(\"2026-03-29T12:00\", \"Europe/Berlin\"), \"day\", \"Europe/Berlin\"), \"Europe/Berlin\")",
                "2026-03-29T00:00:00+01:00",
            ),
            ("time::end_of(0, \"day\", \"+05:30\") - time::start_of(0, \"day\", \"+05:30\")", "86399999"),
            ("time::iso(time::start_of(time::parse(\"2026-08-19\"), \"quarter\"))", "2026-07-01T00:00:00Z"),
            ("time::iso(time::end_of(time::parse(\"2026-12-31T23:59:59.5Z\"), \"year\"))", "2026-12-31T23:59:59.999Z"),
            ("time::iso(time::start_of(-1, \"hour\"))", "1969-12-31T23:00:00Z"),
            ("time::iso(time::sub(time::parse(\"2026-03-09\"), #{ business_days: 1 }))", "2026-03-06T00:00:00Z"),
            ("time::iso(time::add(time::parse(\"2024-02-29\"), #{ years: 1 }))", "2025-02-28T00:00:00Z"),
            ("time::add(1000, -1.5)", "-500"),
            ("time::add(0, \"-1h\")", "-3600000"),
            ("time::iso(time::parse(\"-009999-06-01T00:00:00Z\"))", "-9999-06-01T00:00:00Z"),
            (
                "time::iso(time::parse_as(\"2026-03-01 10:00 +0200\", \"%Y-%m-%d %H:%M %z\", \"Asia/Tokyo\"))",
                "2026-03-01T08:00:00Z",
            ),
            (
                "time::of(#{ year: 2026, month: 2, day: 30 })",
                "throws time::of: parameter 'day' for `2026-02` is invalid, must be in range `1..=28`",
            ),
            // The parts of a date and its making are inverse, in the middle of a doubled hour too.
            (
                "let at = time::parse(\"2026-10-25T00:30:00Z\"); time::add(at, #{ minutes: 5 }, \"Europe/Berlin\") - at",
                "300000",
            ),
        ],
    );
}

#[test]
fn json_as_others_write_it() {
    let engine = engine(|_| ());
    all(
        &engine,
        &[
            // RFC 8785, appendix B, and the order of keys in its section 3.2.3.
            (
                "json::canonical([1e30, 4.5, 0.002, 1e-27, 333333333.33333329, 1e21, 123456789012345680000.0, 0.000001, 0.0000001, -0.0, 9007199254740993])",
                "[1e+30,4.5,0.002,1e-27,333333333.3333333,1e+21,123456789012345680000,0.000001,1e-7,0,9007199254740993]",
            ),
            (
                "json::canonical(#{ \"\\u20ac\": 1, \"\\r\": 2, \"\\U0001F600\": 3, \"1\": 4, \"\\ufb33\": 5 })",
                "{\"\\r\":2,\"1\":4,\"\u{20ac}\":1,\"\u{1F600}\":3,\"\u{fb33}\":5}",
            ),
            // RFC 7396, appendix A.
            ("json::stringify(json::merge(#{ a: \"b\" }, #{ a: \"c\" }))", r#"{"a":"c"}"#),
            ("json::stringify(json::merge(#{ a: [#{ b: \"c\" }] }, #{ a: [1] }))", r#"{"a":[1]}"#),
            ("json::stringify(json::merge([\"a\", \"b\"], #{ a: \"b\", c: () }))", r#"{"a":"b"}"#),
            ("json::stringify(json::merge(#{}, #{ a: #{ bb: #{ ccc: () } } }))", r#"{"a":{"bb":{}}}"#),
            (
                "let a = #{ x: 1, y: #{ z: [1], w: 2 } }; let b = #{ y: #{ z: [2], v: 3 } }; json::merge(a, json::diff(a, b)) == b",
                "true",
            ),
            // RFC 6901, section 5.
            ("json::get(#{ \"a/b\": 1, \"m~n\": 2 }, \"/a~1b\") + json::get(#{ \"m~n\": 2 }, \"/m~0n\")", "3"),
            ("json::get([10, 20], \"/01\")", ""),
            ("json::parse(\"18446744073709551615.0\") > 1.8e19", "true"),
            ("json::parse(\"[1,18446744073709551615]\")", {
                "throws json::parse: [1]: 18446744073709551615 does not fit into 64 bits: send it as text"
            }),
            // Texts of runs that began when long numbers became floats.
            ("__json_parse(\"18446744073709551615\") > 1.8e19", "true"),
            ("json::parse(`\"\\ud800\"`)", "throws json::parse: unexpected end of hex escape at line 1 column 8"),
        ],
    );
}
