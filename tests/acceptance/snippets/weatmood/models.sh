curl https://weatmood.ru/v1/models \
  -H "Authorization: Bearer YOUR_API_KEY"
