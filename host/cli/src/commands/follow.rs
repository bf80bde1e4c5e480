//! `durhai events` and `durhai logs`

use durhai_api::{Item, Want};

use crate::args::{Events, Follow, Globals};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::lines;
use crate::note::note;
use crate::output::Out;

/// Read at a time.
const PAGE: usize = 1_000;
/// Payloads are cut to so many characters on a terminal, and to so many in a pipe, unless all of them is asked for.
const WIDTH: usize = 80;
const WIDE: usize = 1_000;

/// What is to be printed, from where on.
struct Asked {
    run: String,
    /// Whole payloads.
    full: bool,
    follow: bool,
    from: Option<u64>,
}

pub async fn events(globals: &Globals, args: Events, out: &Out) -> Outcome {
    let (client, run) = Client::of_run(globals, &args.follow.run).await?;
    let args = Asked { run, full: args.full, follow: args.follow.follow, from: args.follow.from };
    let want = Want { events: Some(args.from.unwrap_or(1)), ..Want::default() };
    let outcome = if follows(&client, &args) {
        live(&client, &args, want, out).await
    } else {
        all_events(&client, &args, out).await
    };
    client.close().await;
    outcome
}

pub async fn logs(globals: &Globals, args: Follow, out: &Out) -> Outcome {
    let (client, run) = Client::of_run(globals, &args.run).await?;
    let args = Asked { run, full: true, follow: args.follow, from: args.from };
    let want = Want { lines: Some(args.from.unwrap_or(0)), ..Want::default() };
    let outcome = if follows(&client, &args) {
        live(&client, &args, want, out).await
    } else {
        all_lines(&client, &args, out).await
    };
    client.close().await;
    outcome
}

/// Without a host nothing will come that could be followed.
fn follows(client: &Client, args: &Asked) -> bool {
    if args.follow && client.is_local() {
        note("No host serves this folder: these are all there are for now.");
    }
    args.follow && !client.is_local()
}

async fn all_events(client: &Client, args: &Asked, out: &Out) -> Outcome {
    let mut from = args.from.unwrap_or(1).max(1);
    loop {
        let page = client.events(&args.run, from, PAGE).await?;
        page.iter().for_each(|event| print(&Item::Event(event.clone()), args.full, out));
        from += page.len() as u64;
        if page.len() < PAGE || out.closed() {
            return Ok(Exit::Done);
        }
    }
}

async fn all_lines(client: &Client, args: &Asked, out: &Out) -> Outcome {
    let mut from = args.from.unwrap_or(0);
    loop {
        let page = client.logs(&args.run, from, PAGE).await?;
        from += page.len() as u64;
        let last = page.len() < PAGE;
        page.into_iter().for_each(|line| print(&Item::Line(line), args.full, out));
        if last || out.closed() {
            return Ok(Exit::Done);
        }
    }
}

async fn live(client: &Client, args: &Asked, want: Want, out: &Out) -> Outcome {
    let mut following = client.follow(&args.run, want).await?;
    while let Some(item) = following.next().await? {
        print(&item, args.full, out);
        if out.closed() {
            break;
        }
    }
    Ok(Exit::Done)
}

fn print(item: &Item, full: bool, out: &Out) {
    let width = match out.terminal {
        _ if full => usize::MAX,
        true => WIDTH,
        false => WIDE,
    };
    match item {
        Item::Event(event) if out.json => out.row(event),
        Item::Event(event) => out.line(lines::event(event, width)),
        Item::Line(line) if out.json => out.row(line),
        Item::Line(line) => out.line(lines::log(line)),
        Item::Parked(view) => note(format!(
            "parked: {}; `durhai unpark {}` lets it try again",
            view.reason.as_deref().unwrap_or("no reason is known"),
            view.id
        )),
        Item::Emitted(_) | Item::Ended(_) => {}
    }
}
