response = client.chat.completions.create(
    model="zai-org/GLM-4.7-FP8",
    messages=[
        {"role": "system", "content": "Respond in JSON format."},
        {"role": "user", "content": "List 3 European capitals with their countries."}
    ],
    response_format={"type": "json_object"}
)
