SELECT current_setting('server_version_num')::int,
       current_setting('synchronous_commit') <> 'off' AND current_setting('fsync') = 'on'
