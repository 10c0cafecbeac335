//! One session with the database server: connected when needed and again after a loss, every statement within a
//! time limit, and what may pass by itself (a lost connection, a deadlock, a lock that another holds) tried twice.
//! All that is done here may be done twice.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use tokio::time::timeout;

use super::fault::{Fault, told, unreachable};
use crate::store::{Database, Secret, StoreError, Tls};

/// Longest wait for a connection, settings of the session included.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for the server's good-bye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Statements kept prepared: more than there are kinds of questions.
const STATEMENTS: usize = 64;
/// Packets of our own are far smaller; asking the server for its limit would be a statement more.
const PACKET: usize = 64 << 20;

/// What a session is for: how long the server keeps it when nothing is heard, and how long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Writes. Silent for some seconds the server closes it, so that the locks of a center that is frozen or cut
    /// off do not outlive its lease by much.
    Writer,
    /// Reads.
    Reader,
    /// Changes the schema or moves whole tables.
    Mover,
}

impl Kind {
    /// Seconds after which the server closes a silent session.
    fn idle(self) -> usize {
        match self {
            Self::Writer => 10,
            Self::Reader | Self::Mover => 3600,
        }
    }

    /// Longest time for one try of a call. A center that writes must soon be able to say that it waits; what is
    /// read with patience may be long.
    fn limit(self) -> Duration {
        match self {
            Self::Writer => Duration::from_secs(5),
            Self::Reader => Duration::from_mins(1),
            Self::Mover => Duration::from_hours(24),
        }
    }
}

/// A session, connected or not.
pub(super) struct Session {
    database: Database,
    kind: Kind,
    conn: Option<Conn>,
}

impl Session {
    pub(super) fn new(database: &Database, kind: Kind) -> Self {
        Self {
            database: database.clone(),
            kind,
            conn: None,
        }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Carries out `job`, a second time where what went wrong may pass. A transaction that `job` has begun and not
    /// ended is rolled back.
    pub(super) async fn run<T>(
        &mut self,
        job: impl AsyncFn(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        match self.attempt(&job).await {
            Err(fault) if fault.passes() => {}
            other => return other.map_err(|fault| told(fault, &self.database)),
        }
        let again = self.attempt(&job).await;
        again.map_err(|fault| told(fault, &self.database))
    }

    /// Carries out what must not be tried a second time.
    pub(super) async fn run_once<T>(
        &mut self,
        job: impl AsyncFn(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let done = self.attempt(&job).await;
        done.map_err(|fault| told(fault, &self.database))
    }

    /// Carries out `job` once.
    pub(super) async fn attempt<T>(
        &mut self,
        job: &impl AsyncFn(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let limit = self.kind.limit();
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        // Whatever is not said to be sound again is closed: the connection is put back last.
        let Ok(done) = timeout(limit, job(&mut conn)).await else {
            return Err(Fault::Slow(limit));
        };
        match done {
            Ok(value) => {
                self.conn = Some(conn);
                Ok(value)
            }
            Err(fault) => {
                let sound = !fault.ends_connection()
                    && timeout(GOODBYE, conn.query_drop("ROLLBACK"))
                        .await
                        .is_ok_and(|rolled| rolled.is_ok());
                self.conn = sound.then_some(conn);
                Err(fault)
            }
        }
    }

    async fn connect(&self) -> Result<Conn, Fault> {
        let made = async {
            wait_for_other_nodes(Conn::new(options(&self.database, self.kind)).await?).await
        };
        match timeout(CONNECT, made).await {
            Ok(conn) => conn,
            Err(_) => Err(unreachable(
                &self.database,
                &format!("no answer within {} s", CONNECT.as_secs()),
            )),
        }
    }

    /// Says good-bye.
    pub(super) async fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            // Where the server is gone there is nobody to say it to.
            let _ = timeout(GOODBYE, conn.disconnect()).await;
        }
    }
}

/// On a node of Galera what is read, also by a transaction's first statement, has in it all that was committed on any
/// node before: a center that takes the lead there sees all that the last one wrote.
async fn wait_for_other_nodes(mut conn: Conn) -> Result<Conn, Fault> {
    const KNOWS: &str = "SHOW SESSION VARIABLES LIKE 'wsrep_sync_wait'";
    let known: Option<(String, String)> = conn.query_first(KNOWS).await?;
    if known.is_some() {
        conn.query_drop("SET SESSION wsrep_sync_wait = 1").await?;
    }
    Ok(conn)
}

/// Every session has the same understanding of time, text and errors, whatever the server's defaults are. Waits
/// for locks are shorter than the lease.
fn options(database: &Database, kind: Kind) -> Opts {
    let settings = format!(
        "SET SESSION autocommit = 1, time_zone = '+00:00',
            sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,NO_ZERO_IN_DATE',
            innodb_lock_wait_timeout = 1, lock_wait_timeout = 2, wait_timeout = {},
            foreign_key_checks = 1, unique_checks = 1",
        kind.idle()
    );
    let setup = vec![
        settings,
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
    ];
    let password = database.password.as_ref().map(Secret::reveal);
    OptsBuilder::default()
        .ip_or_hostname(database.host.clone())
        .tcp_port(database.port)
        .user(Some(database.user.clone()))
        .pass(password)
        .db_name(Some(database.name.clone()))
        .ssl_opts(encryption(&database.tls))
        .prefer_socket(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(5)))
        .client_found_rows(true)
        .stmt_cache_size(STATEMENTS)
        .max_allowed_packet(Some(PACKET))
        .wait_timeout(Some(kind.idle()))
        .setup(setup)
        .into()
}

fn encryption(tls: &Tls) -> Option<SslOpts> {
    match tls {
        Tls::Off => None,
        Tls::On { ca: None } => Some(SslOpts::default()),
        Tls::On { ca: Some(path) } => Some(
            SslOpts::default()
                .with_root_certs(vec![path.clone().into()])
                .with_disable_built_in_roots(true),
        ),
    }
}
