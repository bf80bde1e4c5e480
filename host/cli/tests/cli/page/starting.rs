//! A run is started by the form that its schema makes, and watched to its end.

use serde_json::json;

use super::site::Site;
use super::webdriver::key;

const ORDER: &str = r#"//! Fulfil one order.
//!
//! Packs what was ordered, then ships it.
const WORKFLOW = #{
    input: #{
        type: "object",
        required: ["customer", "amount", "size", "address", "items"],
        additionalProperties: false,
        properties: #{
            customer: #{ type: "string", title: "Customer", minLength: 2, "not": #{ "const": "nobody" } },
            amount: #{ type: "integer", title: "Amount", minimum: 1, maximum: 10 },
            size: #{ "enum": ["small", "large"], title: "Size" },
            gift: #{ type: "boolean", title: "Gift" },
            address: #{ type: "object", title: "Address", required: ["city"], properties: #{
                city: #{ type: "string", title: "City", "not": #{ "const": "Atlantis" } },
                zip: #{ type: "string", title: "Postal code", pattern: "^[0-9]{5}$" },
            } },
            items: #{ type: "array", title: "Items", minItems: 1, items: #{ type: "string", title: "Item" } },
        },
    },
};
const PLACES = ["pack", "ship"];
set_status(`packing for ${input.customer}`);
for place in PLACES {
    use_step("p.when_there", `${use_step("env.get", "ORDERS")}/${place}`, #{ label: place });
}
#{ shipped: input.items.len(), to: input.address.city }
"#;

#[tokio::test]
// Over 80 lines: one walk through the page, each step from where the one before has led.
async fn a_run_is_started_by_its_form_and_goes_on_while_one_looks() {
    let Some(site) = Site::open(&[]).await else { return };
    let folder = site.folder.path().display().to_string();
    site.folder.script("order", &ORDER.replace("${use_step(\"env.get\", \"ORDERS\")}", &folder));
    let browser = &site.browser;
    site.go("workflows").await;
    browser.press("Start order").await;
    browser.dialog("Start order").await;
    browser.view("dialog-start").await;

    // What this page can see is said at once, at each field.
    browser.write("Amount", "11").await;
    browser.write("Postal code", "12").await;
    browser.press("Start").await;
    browser.says("dialog [role=alert]", "fields are not right yet").await;
    browser.says("dialog .wrong", "At most 10.").await;
    browser.says("dialog .wrong", "It must match ^[0-9]{5}$").await;
    browser.says("dialog .wrong", "This is needed.").await;
    assert!(browser.count("dialog [aria-invalid=true]").await >= 4);
    browser.view("dialog-start-wrong").await;

    // What only the host knows is said at the same places.
    browser.write("Customer", "nobody").await;
    browser.write("Amount", "2").await;
    browser.choose("Size", "large").await;
    browser.write("City", "Atlantis").await;
    browser.write("Postal code", "12345").await;
    browser.write("Item", "a mug").await;
    browser.press("+ Add Item").await;
    browser.keys("a pot").await;
    browser.press("Start").await;
    browser.reads("The input does not fit; see the marked fields.").await;
    for label in ["Customer", "City"] {
        let field = browser.field(label).await;
        assert_eq!(field.attr("aria-invalid").await.expect("an answer").as_deref(), Some("true"), "{label}");
        let said = field.attr("aria-describedby").await.expect("an answer").expect("what is wrong");
        browser.says(&format!("#{}", said.rsplit(' ').next().expect("an id")), "not").await;
    }
    assert_eq!(browser.count("dialog [aria-invalid=true]").await, 2);
    browser.picture("dialog-start-refused").await;

    // The same as text, and back.
    browser.press("JSON").await;
    let text = browser.field("Input (JSON)").await.prop("value").await.expect("an answer").expect("text");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["items"], json!(["a mug", "a pot"]));
    browser.press("Form").await;
    browser.write("Customer", "ann").await;
    browser.write("City", "Ulm").await;
    browser.press("More: id, tags, delay, priority, timeout").await;
    browser.write("Id", "order-1").await;
    browser.press("Start").await;

    // From here on nothing is loaded again: what changes, changes by itself.
    browser.holds("return location.hash === '#/runs/order-1'").await;
    browser.script("window.same = true", &[]).await;
    browser.reads("packing for ann").await;
    browser.see(".run-status .status.running").await;
    browser.see(".tl-row .bar.attempt.running").await;
    browser.says(".tl-row .tl-name", "pack").await;
    browser.view("run-live").await;
    assert_eq!(browser.count(".tl-row .bar.attempt.completed").await, 0);
    site.touch("pack");
    browser.says(".tl-row .tl-name", "ship").await;
    browser.see(".tl-row .bar.attempt.completed").await;
    browser.see(".tl-row .bar.attempt.running").await;
    site.touch("ship");
    browser.see(".run-status .status.completed").await;
    browser.reads("shipped").await;
    browser.holds("return !document.querySelector('.tl-row .bar.running') && document.querySelectorAll('.tl-row .bar.attempt.completed').length === 2").await;
    browser.view("run-done").await;
    assert_eq!(browser.script("return window.same", &[]).await, json!(true));

    // Once more with the same input, from the keyboard alone.
    browser.keys("n").await;
    browser.dialog("Start order").await;
    browser.holds("return document.activeElement.closest('dialog') && document.activeElement.value === 'ann'").await;
    browser.keys(key::ENTER).await;
    browser.holds("return /^#\\/runs\\/(?!order-1)/.test(location.hash)").await;
    browser.see(".run-status .status.completed").await;
    browser.is_quiet(&["400"]).await;
}
