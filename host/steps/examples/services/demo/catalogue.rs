//! `GET /catalogue/products?cursor=…&limit=…`: products in pages. At the first request for it every fourth page is busy
//! (429), every fourth fails (503, twice for every eighth), and every fifth is cut off in the middle.

use serde_json::{Value, json};

use super::{Answer, Ask, Services};

const LARGEST_PAGE: usize = 50;
const WORDS: [&str; 8] = ["mug", "kettle", "lamp", "clock", "stool", "basket", "teapot", "rug"];
const COLOURS: [&str; 5] = ["blue", "green", "red", "white", "black"];

pub fn page(services: &mut Services, ask: &Ask<'_>) -> Answer {
    let limit = ask.query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(LARGEST_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Answer::error(400, format!("the limit must be from 1 to {LARGEST_PAGE}"));
    }
    let start = match ask.query.get("cursor").map(|cursor| usize::from_str_radix(cursor, 36)) {
        None => 0,
        Some(Ok(start)) if start <= services.options.products => start,
        Some(_) => return Answer::error(400, "there is no such cursor"),
    };
    let end = (start + limit).min(services.options.products);
    let page = start / limit;
    if page % 4 == 1 && services.strikes(format!("busy {start}"), 1) {
        return services.busy(429);
    }
    if page % 4 == 2 && services.strikes(format!("down {start}"), if page % 8 == 6 { 2 } else { 1 }) {
        return Answer::error(503, "the catalogue is being tidied up");
    }
    let next = (end < services.options.products).then(|| in_base_36(end));
    let items: Vec<_> = (start..end).map(product).collect();
    let mut answer = Answer::ok(json!({ "items": items, "next": next, "total": services.options.products }));
    let cuts = if page == 3 { services.options.cuts } else { 1 };
    if page % 5 == 3 && services.strikes(format!("cut {start}"), cuts) {
        answer.body.truncate(answer.body.len() / 2);
    }
    answer
}

/// Whether a product is one that nobody can use.
pub fn is_bad(number: usize) -> bool {
    number % 23 == 7
}

/// As shops hand them over: untidy, and some of them wrong.
fn product(number: usize) -> Value {
    let colour = COLOURS[number % COLOURS.len()];
    let word = WORDS[number * 5 % WORDS.len()];
    let cents = 199 + number * 37 % 9_000;
    let mut product = json!({
        "sku": format!("P-{number:05}"),
        "name": format!("  {colour}   {word} "),
        "price": format!("{},{:02} €", cents / 100, cents % 100),
        "stock": (number * 7 % 40).to_string(),
        "changed": format!("{:02}.{:02}.2026 {:02}:30", 1 + number % 28, 1 + number % 9, number % 24),
        "tags": format!("{word}, {colour},, sale"),
    });
    if is_bad(number) {
        match number % 3 {
            0 => product["price"] = json!("ask us"),
            1 => product["changed"] = json!("31.02.2026 10:00"),
            _ => product["stock"] = json!("-3"),
        }
    }
    product
}

fn in_base_36(mut number: usize) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.is_empty() {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.into_iter().rev().collect()
}
