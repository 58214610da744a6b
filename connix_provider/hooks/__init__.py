"""Airflow connection to Connix client."""
