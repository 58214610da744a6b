"""The hook: from an Airflow connection to a Connix client."""
