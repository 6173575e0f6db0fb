//! Who may use the API, and what was done with it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::change::{ChangeError, Kind};
use super::database::Row;
use super::execution::Attempt;
use super::group::Group;
use super::row::parsed;
use super::slice::{Slice, sliced};
use super::{Durability, Result, Store, now};
use crate::reference::PackRef;
use crate::token::{Role, Token};

/// That a token was used is written this often at most.
const USED_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// A token as it is kept: not the token itself.
#[derive(Clone, Debug)]
pub struct TokenRow {
    pub id: Uuid,
    pub name: String,
    pub role: Role,
    /// Only what is of this pack may be changed with it.
    pub pack: Option<PackRef>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token to be kept.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    pub name: &'a str,
    pub role: Role,
    pub pack: Option<&'a PackRef>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Something that was done by the API.
#[derive(Clone, Debug)]
pub struct AuditRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    /// The name of the token.
    pub token: String,
    pub role: Role,
    pub method: String,
    pub path: String,
    /// Of the answer.
    pub status: i64,
    pub request_id: String,
}

/// Something to be kept of what was done.
#[derive(Clone, Debug)]
pub struct NewAudit<'a> {
    pub token: &'a str,
    pub role: Role,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub request_id: &'a str,
}

/// What was done and waits to be kept.
pub(super) type Audits = Group<Arc<Done>, ()>;

/// Something that was done: what [`NewAudit`] borrows.
#[derive(Debug)]
pub(super) struct Done {
    at: DateTime<Utc>,
    token: String,
    role: Role,
    method: String,
    path: String,
    status: u16,
    request_id: String,
}

impl Store {
    /// Keeps a token under a name that no other has.
    pub async fn create_token(&self, token: &Token, new: &NewToken<'_>) -> Result<TokenRow, ChangeError> {
        let rows = self
            .database
            .durable(
                "insert into api_token (id, name, hash, role, pack, created_at, expires_at)
             values ($7, $1, $2, $3, $4, $5, $6) on conflict (name) do nothing returning *",
            )
            .bind(new.name)
            .bind(token.hash())
            .bind(new.role.name())
            .bind(new.pack.map(PackRef::as_str))
            .bind(now())
            .bind(new.expires_at)
            .bind(Uuid::now_v7())
            .fetch_all()
            .await?;
        match rows.first() {
            Some(row) => Ok(token_row(row)?),
            None => Err(ChangeError::Duplicate { kind: Kind::Token, name: new.name.to_owned() }),
        }
    }

    /// All tokens, by name.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>> {
        let rows = self.database.query("select * from api_token order by name").fetch_all().await?;
        rows.iter().map(token_row).collect()
    }

    /// The token of a caller, if it is good now; that it was used is noted. What was read before the last change is not used for
    /// him any more.
    pub async fn token_used(&self, token: &Token) -> Result<Option<TokenRow>> {
        let time = now();
        let row = self
            .database
            .query(
                "select api_token.*, (select number from generation) as generation from api_token
             where hash = $1 and revoked_at is null and (expires_at is null or expires_at > $2)",
            )
            .bind(token.hash())
            .bind(time)
            .fetch_optional()
            .await?;
        if let (Some(cache), Some(row)) = (&self.cache, &row) {
            cache.look(row.try_get("generation")?);
        }
        let Some(row) = row.as_ref().map(token_row).transpose()? else { return Ok(None) };
        if row.last_used_at.is_none_or(|used| time - used >= USED_AGAIN) {
            self.database
                .query("update api_token set last_used_at = $2 where id = $1")
                .bind(row.id)
                .bind(time)
                .execute()
                .await?;
        }
        Ok(Some(row))
    }

    /// The pack of an attempt that runs now, if the token is the one that it was given.
    pub async fn attempt_asks(&self, attempt: Attempt, token: &Token) -> Result<Option<PackRef>> {
        let row = self
            .database
            .query(
                "select pack from execution
             where id = $1 and attempt = $2 and status = 'running' and token_hash = $3",
            )
            .bind(attempt.id.0)
            .bind(attempt.number)
            .bind(token.hash())
            .fetch_optional()
            .await?;
        row.map(|row| parsed(&row, "pack")).transpose()
    }

    /// From now on nobody gets in with a token. Whether there is one by that name; one that was revoked stays so.
    pub async fn revoke_token(&self, name: &str) -> Result<Option<TokenRow>> {
        let rows = self
            .database
            .durable("update api_token set revoked_at = coalesce(revoked_at, $2) where name = $1 returning *")
            .bind(name)
            .bind(now())
            .fetch_all()
            .await?;
        rows.first().map(token_row).transpose()
    }

    /// Removes a token, so that another may have its name.
    pub async fn forget_token(&self, name: &str) -> Result<()> {
        self.database.query("delete from api_token where name = $1").bind(name).execute().await?;
        Ok(())
    }

    /// Keeps for ever what was done, together with what others did meanwhile.
    pub async fn keep_audit(&self, new: &NewAudit<'_>) -> Result<()> {
        let done = Arc::new(Done {
            at: now(),
            token: new.token.to_owned(),
            role: new.role,
            method: new.method.to_owned(),
            path: new.path.to_owned(),
            status: new.status,
            request_id: new.request_id.to_owned(),
        });
        self.audits.write(&done, |all| self.keep_audits(all)).await
    }

    async fn keep_audits(&self, all: Vec<Arc<Done>>) -> Result<Vec<()>> {
        let mut transaction = self.begin(Durability::Process).await?;
        for done in &all {
            transaction
                .query(
                    "insert into audit (at, token, role, method, path, status, request_id)
                 values ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(done.at)
                .bind(&done.token)
                .bind(done.role.name())
                .bind(&done.method)
                .bind(&done.path)
                .bind(i64::from(done.status))
                .bind(&done.request_id)
                .execute()
                .await?;
        }
        transaction.commit().await?;
        Ok(vec![(); all.len()])
    }

    /// What was done, by the order of it; with the token of one name, if there is one.
    pub async fn audit(&self, token: Option<&str>, slice: &Slice<i64>) -> Result<Vec<AuditRow>> {
        let rows = self
            .database
            .query(slice.way(sliced!(
                "select * from audit where ($1 is null or token = $1)",
                "id" after "$2", limit "$3"
            )))
            .bind(token)
            .bind(slice.after)
            .bind(slice.limit())
            .fetch_all()
            .await?;
        rows.iter().map(audit_row).collect()
    }
}

fn token_row(row: &Row) -> Result<TokenRow> {
    let pack = if row.is_null("pack")? { None } else { Some(parsed(row, "pack")?) };
    Ok(TokenRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: parsed(row, "role")?,
        pack,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn audit_row(row: &Row) -> Result<AuditRow> {
    Ok(AuditRow {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        token: row.try_get("token")?,
        role: parsed(row, "role")?,
        method: row.try_get("method")?,
        path: row.try_get("path")?,
        status: row.try_get("status")?,
        request_id: row.try_get("request_id")?,
    })
}
