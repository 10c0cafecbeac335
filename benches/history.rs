//! A history of millions of runs, on SQLite and on a private MariaDB: what people ask most, at the store and through a
//! center, beside a limit of 50 ms at the median; then a tenth of it and more is pruned beside 20 fires a second,
//! by turns with stretches without, whose lateness is printed beside. UCRON_BENCH_RUNS says how many runs
//! (1,000,000), UCRON_BENCH_STORE on which store alone (`sqlite` or `mysql`). Ten million take an hour, and 8 GB under the
//! system's temporary directory.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, starts programs, and ends at the first thing that fails"
)]

#[path = "../tests/database/mod.rs"]
mod database;
mod past;
#[path = "../tests/it/programs.rs"]
mod programs;
#[path = "../tests/it/world.rs"]
mod world;

use std::time::{Duration, Instant};

use database::Server;
use past::{BUSY, Base, Past, RARE, SOUND, TEMPLATE, agent_id, agent_name, task_id, task_name};
use rustix::process::Signal;
use ucron::model::{Outcome, UnixMs};
use ucron::store::{Place, RunQuery, Secret, Store};
use world::{World, signal};

/// What each question may cost at the median.
const LIMIT: Duration = Duration::from_millis(50);
/// Times that each question is asked.
const ASKED: usize = 31;
/// What pruning may add to the lateness of a fire.
const DELAY: i64 = 20;
/// Seconds with pruning, and without, by turns.
const WINDOW: i64 = 15;
/// Pruning that takes longer does not end.
const PATIENCE: Duration = Duration::from_hours(1);
const DAY: i64 = 86_400_000;

fn main() {
    let runs = std::env::var("UCRON_BENCH_RUNS").map_or(1_000_000, |text| text.parse().unwrap());
    let only = std::env::var("UCRON_BENCH_STORE").ok();
    if only.as_deref() != Some("mysql") {
        println!("SQLite, {runs} runs");
        on_sqlite(runs);
    }
    if only.as_deref() != Some("sqlite") {
        let Some(server) = Server::start() else {
            println!(
                "MariaDB is skipped, needs the packages mariadb-server-core and mariadb-client-core"
            );
            return;
        };
        println!("MariaDB, {runs} runs");
        on_maria(runs, &server);
    }
}

fn on_sqlite(runs: i64) {
    let mut world = fleet(World::empty());
    world.kill_center();
    let path = world.path("center/center.db");
    measure(
        &mut world,
        &Base::Sqlite(path.clone()),
        &Place::Sqlite(path),
        runs,
    );
}

fn on_maria(runs: i64, server: &Server) {
    // What a database of this size has at least; the tests' server has less.
    server.sql("SET GLOBAL innodb_buffer_pool_size = 1073741824");
    let name = server.new_database();
    let url = format!("mysql://ucron@127.0.0.1:{}/{name}", server.port);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "se:cret").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, private).unwrap();
    let flags = [
        "--store",
        &url,
        "--store-password-file",
        file.to_str().unwrap(),
    ];
    let mut world = fleet(World::made(&flags));
    world.kill_center();
    let Ok(Place::Mysql(mut database)) = Place::parse(&url) else {
        panic!("{url}");
    };
    database.password = Some(Secret::new("se:cret"));
    let place = Place::Mysql(database);
    measure(&mut world, &Base::Maria(server, name), &place, runs);
}

fn fleet(world: World) -> World {
    let world = world.with(&[("a1", "web")]);
    world.add(
        "web/tick",
        &["--rule", "@every 50ms", "--overlap", "allow"],
        &["true", "x"],
    );
    let flags = ["--rule", "@yearly", "--disabled"];
    world.add(&format!("web/{TEMPLATE}"), &flags, &["true", "x"]);
    world
}

fn measure(world: &mut World, base: &Base, place: &Place, runs: i64) {
    let until = ucron::clock::now().0 / 60_000 * 60_000;
    let begun = Instant::now();
    base.fill(Past { runs, until });
    println!("  filled within {:.0} s", begun.elapsed().as_secs_f64());
    let settings = world.path("center/center.toml");
    let plain = std::fs::read_to_string(&settings).unwrap();
    let kept = u32::try_from(runs / 10).unwrap();
    let keep = |days: i64, number: u32| {
        let keep = format!(
            "history = \"{days}d\"\nhistory_failures = \"{days}d\"\nhistory_runs = {number}\n"
        );
        std::fs::write(&settings, format!("{plain}{keep}")).unwrap();
    };
    keep(1000, u32::MAX);
    at_the_store(place, until);
    let begun = Instant::now();
    world.start_center();
    println!(
        "  center ready within {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    world.is_online("a1");
    through_the_center(world);
    // A twentieth is too old, of the busy task about half too many.
    let cutoff = until - 30 * DAY;
    let before = left(base);
    let (mut calm, mut busy) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while busy.is_empty() || !is_pruned(base, cutoff, runs / 10) {
        assert!(begun.elapsed() < PATIENCE, "not pruned in time");
        for (fires_of, days, number) in [(&mut calm, 1000, u32::MAX), (&mut busy, 30, kept)] {
            keep(days, number);
            signal(world.center_pid(), Signal::HUP);
            fires_of.push(fires(world, WINDOW));
        }
    }
    let pruned = before - left(base);
    let spent = u64::try_from(busy.len()).unwrap() * u64::try_from(WINDOW).unwrap();
    println!("  {pruned} rows pruned within {spent} s at most");
    compare(&calm, &busy);
}

/// The worst fire of each stretch of pruning beside that of the stretch without before it: a machine that others use
/// too has worst moments of its own, so the middle ones are compared.
fn compare(calm: &[Vec<i64>], busy: &[Vec<i64>]) {
    tell("without pruning", calm);
    tell("beside pruning", busy);
    let later = middle(busy) - middle(calm);
    let (ratio, verdict) = ratio(millis_of(later), millis_of(DELAY));
    println!(
        "  the worst fire of {WINDOW} s: {} ms without, {} ms beside pruning: {later} ms later, {ratio:.2} of the limit of {DELAY} ms{verdict}",
        middle(calm),
        middle(busy)
    );
}

/// Of the worst fires of all stretches the middle one.
fn middle(stretches: &[Vec<i64>]) -> i64 {
    let worst = stretches.iter().filter_map(|late| late.iter().max());
    let mut worst: Vec<i64> = worst.copied().collect();
    worst.sort_unstable();
    worst[worst.len() / 2]
}

/// The questions of `runs`, `why`, `show` and the dashboard.
fn questions(now: i64) -> Vec<(&'static str, RunQuery)> {
    let all = |change: &dyn Fn(&mut RunQuery)| {
        let mut query = RunQuery {
            limit: 51,
            missed_until: Some(UnixMs(now)),
            ..RunQuery::default()
        };
        change(&mut query);
        query
    };
    let of = |number| all(&|q| q.task = task_id(number).parse().ok());
    let web = || Some(["web".parse().unwrap()].into());
    let failed = |mut query: RunQuery| {
        query.outcome = Some(Outcome::Failed);
        query
    };
    let by = |number| all(&|q| q.agent = agent_id(number).parse().ok());
    let day = UnixMs(now - DAY);
    let (from, to) = (UnixMs(now - 3 * DAY), UnixMs(now - 3 * DAY + 1000));
    let folded = |mut query: RunQuery| {
        query.fold = true;
        query
    };
    vec![
        ("runs --task X", of(7)),
        ("runs --task BUSY", of(BUSY)),
        ("runs --task RARE", of(RARE)),
        (
            "runs --outcome failed --since 1d",
            failed(all(&|q| q.since = Some(day))),
        ),
        (
            "runs --outcome failed --since 1d, 1,000 of them",
            failed(all(&|q| (q.since, q.limit) = (Some(day), 1_001))),
        ),
        ("runs --task X --outcome failed", failed(of(7))),
        ("runs --task BUSY --outcome failed", failed(of(BUSY))),
        ("runs --agent SOUND --outcome failed", failed(by(SOUND))),
        ("runs --group web", all(&|q| q.groups = web())),
        (
            "runs --group web --outcome failed",
            failed(all(&|q| q.groups = web())),
        ),
        (
            "why X TIME",
            RunQuery {
                since: Some(from),
                until: Some(to),
                ..of(7)
            },
        ),
        (
            "show RUN",
            all(&|q| q.id_suffix = Some("00000000".to_owned())),
        ),
        ("dashboard, first page", folded(all(&|q| q.limit = 301))),
        ("dashboard, an agent", folded(by(7))),
        ("dashboard, a task", folded(of(7))),
    ]
}

fn at_the_store(place: &Place, until: i64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(place, UnixMs(until)).await.unwrap();
        for (name, query) in questions(until) {
            let mut spent = Vec::new();
            let mut found = 0;
            for _ in 0..ASKED {
                let begun = Instant::now();
                found = store.runs(query.clone()).await.unwrap().len();
                spent.push(begun.elapsed());
            }
            told(&format!("{name} ({found})"), "store", spent);
        }
        let begun = Instant::now();
        store.load().await.unwrap();
        println!(
            "  the snapshot of a center that starts: {:.0} ms",
            begun.elapsed().as_secs_f64() * 1e3
        );
        store.close().await;
    });
}

fn through_the_center(world: &World) {
    let task = format!("web/{}", task_name(7));
    let busy = format!("web/{}", task_name(BUSY));
    let agent = agent_name(7);
    let asked: [(&str, &[&str]); 7] = [
        ("status, which reads no history", &["status"]),
        (
            "runs --task X --limit 50",
            &["runs", "--task", &task, "--limit", "50"],
        ),
        (
            "runs --outcome failed --since 1d",
            &["runs", "--outcome", "failed", "--since", "1d"],
        ),
        ("why X", &["why", &task]),
        ("why BUSY", &["why", &busy]),
        ("dashboard, first page", &["runs", "--limit", "300"]),
        (
            "dashboard, an agent",
            &["runs", "--agent", &agent, "--limit", "50"],
        ),
    ];
    for (name, args) in asked {
        let mut spent = Vec::new();
        for _ in 0..ASKED {
            let begun = Instant::now();
            world.must(args);
            spent.push(begun.elapsed());
        }
        told(name, "client", spent);
    }
}

/// The median beside the limit; the first answer, of a cold cache, by itself.
fn told(name: &str, by: &str, mut spent: Vec<Duration>) {
    let first = spent[0];
    spent.sort();
    let median = spent[ASKED / 2];
    let (ratio, verdict) = ratio(median, LIMIT);
    println!(
        "  {by}: {name:<44} {:>8.2} ms, {ratio:.2} of the limit; first {:.1} ms{verdict}",
        median.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
    );
}

fn ratio(spent: Duration, limit: Duration) -> (f64, &'static str) {
    let ratio = spent.as_secs_f64() / limit.as_secs_f64();
    (ratio, if ratio > 1.0 { " MISSED" } else { "" })
}

fn millis_of(span: i64) -> Duration {
    Duration::from_millis(u64::try_from(span).unwrap_or_default())
}

/// How late the fires of so many seconds are.
fn fires(world: &World, seconds: i64) -> Vec<i64> {
    let since = ucron::clock::now();
    std::thread::sleep(millis_of(seconds * 1000));
    lateness(world, since)
}

/// How late the fires since then were, in milliseconds, the first first.
fn lateness(world: &World, since: UnixMs) -> Vec<i64> {
    let since = jiff::Timestamp::from_millisecond(since.0)
        .unwrap()
        .to_string();
    let runs = world.runs_of(&["--task", "web/tick", "--since", &since]);
    let ended = runs.iter().filter(|run| run.outcome.is_some());
    let not_run: Vec<_> = ended.filter(|run| !run.is("succeeded")).collect();
    assert!(not_run.is_empty(), "{not_run:?}");
    runs.iter().filter_map(|run| run.late_ms).collect()
}

fn tell(what: &str, stretches: &[Vec<i64>]) {
    let mut late = stretches.concat();
    late.sort_unstable();
    let at = |part: usize| late[(late.len() - 1) * part / 1000];
    println!(
        "  {} fires at 20 a second {what}: late_ms p50 {}, p99 {}, worst {}",
        late.len(),
        at(500),
        at(990),
        at(1000)
    );
}

fn left(base: &Base) -> i64 {
    base.number("SELECT count(*) FROM run")
}

fn is_pruned(base: &Base, cutoff: i64, most: i64) -> bool {
    let old =
        format!("SELECT count(*) FROM (SELECT 1 FROM run WHERE scheduled_at < {cutoff} LIMIT 1) o");
    let busy = format!("SELECT count(*) FROM run WHERE task = '{}'", task_id(BUSY));
    // What is due at one instant stays or goes together.
    base.number(&old) == 0 && base.number(&busy) <= most + 1_000
}
