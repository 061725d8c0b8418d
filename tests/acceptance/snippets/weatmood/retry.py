import time

def call_with_retry(client, payload, max_retries=3):
    for attempt in range(max_retries):
        try:
            response = client.chat.completions.create(**payload)
            return response
        except Exception as e:
            if attempt == max_retries - 1:
                raise
            wait = 2 ** attempt  # Exponential backoff: 1s, 2s, 4s
            time.sleep(wait)
