curl https://weatmood.ru/health
