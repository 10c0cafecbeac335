//! The tests of every database, on MySQL: on the server that UCRON_TEST_MYSQL names (`mysql://USER@HOST[:PORT]/any`,
//! password in UCRON_TEST_MYSQL_PASSWORD, with the right to make databases), else on a private MariaDB. Where
//! neither can be had they run on SQLite once more, and say so.
#![allow(
    clippy::duplicate_mod,
    reason = "the same tests on another kind of store"
)]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;

use super::Home;
pub(in crate::store) use super::{NOW, content, sample};
use crate::store::{Place, Secret, place};
use private::Server;

#[path = "../batches.rs"]
mod batches;
#[path = "../copies.rs"]
mod copies;
#[path = "../history.rs"]
mod history;
#[path = "../lead.rs"]
mod lead;
#[path = "../../../../tests/database/mod.rs"]
mod private;

/// A store in a database.
type World = super::World<Database>;

/// A database that is gone when this is dropped.
pub(in crate::store) enum Database {
    Mysql(place::Database),
    None(TempDir),
}

/// One private server for all tests of this process.
pub(in crate::store) fn server() -> Option<&'static Server> {
    static SERVER: LazyLock<Option<Server>> = LazyLock::new(Server::start);
    SERVER.as_ref()
}

/// The server that was given, and the account there.
fn given() -> Option<place::Database> {
    let url = std::env::var("UCRON_TEST_MYSQL").ok()?;
    let Ok(Place::Mysql(mut database)) = Place::parse(&url) else {
        panic!("UCRON_TEST_MYSQL is no mysql://USER@HOST[:PORT]/any");
    };
    database.password = std::env::var("UCRON_TEST_MYSQL_PASSWORD")
        .ok()
        .map(Secret::new);
    Some(*database)
}

/// A database on the private server, as its unprivileged user.
pub(in crate::store) fn own_database(server: &Server) -> place::Database {
    let url = format!(
        "mysql://ucron@127.0.0.1:{}/{}",
        server.port,
        server.new_database()
    );
    let Ok(Place::Mysql(mut database)) = Place::parse(&url) else {
        panic!("{url}");
    };
    database.password = Some(Secret::new("se:cret"));
    *database
}

/// Carries out SQL on the server that was given.
fn execute(database: &place::Database, sql: String) {
    let options = OptsBuilder::default()
        .ip_or_hostname(database.host.clone())
        .tcp_port(database.port)
        .user(Some(database.user.clone()))
        .pass(database.password.as_ref().map(Secret::reveal))
        .prefer_socket(false);
    // A test has a runtime already, and one may not wait in it.
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut conn = Conn::new(options).await.unwrap();
            conn.query_drop(sql).await.unwrap();
            conn.disconnect().await.unwrap();
        });
    };
    std::thread::spawn(work).join().unwrap();
}

impl Home for Database {
    fn make() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(mut database) = given() {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            database.name = format!("ucron_test_{}_{number}", std::process::id());
            execute(&database, format!("CREATE DATABASE {}", database.name));
            return Self::Mysql(database);
        }
        if let Some(server) = server() {
            return Self::Mysql(own_database(server));
        }
        eprintln!("no MariaDB here and no UCRON_TEST_MYSQL: on SQLite once more");
        Self::None(TempDir::new().unwrap())
    }

    fn place(&self) -> Place {
        match self {
            Self::Mysql(database) => Place::Mysql(Box::new(database.clone())),
            Self::None(folder) => folder.place(),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let (Self::Mysql(database), Some(_)) = (self, given()) {
            execute(database, format!("DROP DATABASE {}", database.name));
        }
    }
}
