-- What the checks of nominators ask: the deposits that were pending for longer than an epoch.
-- depends: 18_serve_nominators

-- Nearly all become shares in the next one.
CREATE INDEX nominator_positions_long_pending ON nominator_positions (epoch)
  WHERE pending_raw > 0 AND (until_epoch IS NULL OR until_epoch > epoch + 1);
