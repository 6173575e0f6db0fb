//! Who allowed what components ask for.

use chrono::{DateTime, Utc};

use super::change::ChangeError;
use super::{Durability, Result, Store, now};

impl Store {
    /// Who allowed what the component of a runtime asks for, and when; none if nobody did.
    pub async fn consent(&self, runtime: i64) -> Result<Option<(String, DateTime<Utc>)>> {
        let row = self
            .database
            .query(
                "select approved_by, approved_at from plugin_grant
             where runtime = $1 and approved is not null and approved_by is not null and approved_at is not null",
            )
            .bind(runtime)
            .fetch_optional()
            .await?;
        row.map(|row| Ok((row.try_get("approved_by")?, row.try_get("approved_at")?))).transpose()
    }

    /// Allows what the component of a runtime asks for, or, with nobody, allows it nothing any more.
    pub async fn set_consent(&self, runtime: i64, by: Option<&str>) -> Result<(), ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        transaction
            .query(
                "update plugin_grant set
                 approved = case when $2 is null then null else asked end, approved_by = $2, approved_at = $3
             where runtime = $1",
            )
            .bind(runtime)
            .bind(by)
            .bind(by.map(|_| now()))
            .execute()
            .await?;
        self.commit_runnable(transaction).await?;
        Ok(())
    }
}
